// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/db.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/engine.h"
#include "millrace/error.h"
#include "stores/rocksdb_options.h"

namespace millrace {

/// An open RocksDB and its column families: one per store, under the store's name, and one for the
/// positions.
///
/// Column families of stores that are not asked for are opened, because RocksDB insists, and left
/// alone. Shared by the engine and its scans: the files are released when the last of them goes.
/// Not thread-safe.
class RocksDbDatabase {
 public:
  /// Opens or creates the database, removes what crashes left behind and checks that no checkpoint
  /// is missing.
  static Result<std::shared_ptr<RocksDbDatabase>> open(const EngineOptions& options,
                                                       const RocksDbOptions& rocksdb_options);

  RocksDbDatabase(const RocksDbDatabase&) = delete;
  RocksDbDatabase& operator=(const RocksDbDatabase&) = delete;
  ~RocksDbDatabase();

  [[nodiscard]] rocksdb::DB& db() { return *db_; }
  [[nodiscard]] const RocksDbOptions& options() const { return options_; }
  /// Of the column family of a store.
  [[nodiscard]] const rocksdb::ColumnFamilyOptions& store_options(StoreIndex index) const {
    return family_options(names_[index]);
  }
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }
  /// Where the files of an ingestion are made: on the same file system, so that they can be moved.
  [[nodiscard]] std::filesystem::path ingest_directory() const { return directory_ / "ingest"; }

  /// Null after a failed `clear`.
  [[nodiscard]] rocksdb::ColumnFamilyHandle* store(StoreIndex index) { return stores_[index]; }
  [[nodiscard]] const std::string& store_name(StoreIndex index) const { return names_[index]; }
  [[nodiscard]] std::size_t store_count() const { return names_.size(); }
  [[nodiscard]] rocksdb::ColumnFamilyHandle* positions() { return positions_; }

  /// Of the last checkpoint in the database; the next one counts on from it (rocksdb_chain.h).
  [[nodiscard]] std::uint64_t checkpoint_number() const { return checkpoint_number_; }
  void set_checkpoint_number(std::uint64_t number) { checkpoint_number_ = number; }

  /// Writes all that is only in memory and in the log into synced tables.
  rocksdb::Status flush();
  /// Removes a store's position, then its entries. A crash in between leaves a store without
  /// position, which the next `open` empties.
  rocksdb::Status clear(StoreIndex index);

 private:
  RocksDbDatabase(const EngineOptions& options, const RocksDbOptions& rocksdb_options);

  Status read_settings(const EngineOptions& options);
  [[nodiscard]] const rocksdb::ColumnFamilyOptions& family_options(const std::string& family) const;
  Status prepare_directory() const;
  rocksdb::Status open_database();
  rocksdb::Status recreate(StoreIndex index);
  rocksdb::Status empty_half_cleared_stores();
  Status verify_checkpoints();

  const RocksDbOptions options_;
  const std::filesystem::path directory_;
  std::map<std::string, rocksdb::ColumnFamilyOptions>
      own_options_;                 ///< Where a store has settings.
  std::vector<std::string> names_;  ///< Column family and position key of each store.
  std::unique_ptr<rocksdb::DB> db_;
  std::map<std::string, rocksdb::ColumnFamilyHandle*, std::less<>> families_;
  std::vector<rocksdb::ColumnFamilyHandle*> stores_;
  rocksdb::ColumnFamilyHandle* positions_ = nullptr;
  std::uint64_t checkpoint_number_ = 0;
};

}  // namespace millrace
