// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/slice.h>

#include <memory>
#include <vector>

#include "millrace/engine.h"
#include "stores/rocksdb_database.h"

namespace millrace {

/// The state of one task in one RocksDB.
///
/// Survives kill -9 up to the last checkpoint. A scan keeps the database open: destroy it before
/// `close()`, or the files are released only when it goes.
class RocksDbEngine final : public Engine {
 public:
  RocksDbEngine(EngineOptions options, RocksDbOptions rocksdb_options);

  /// Before all other calls. Errors as those of `EngineFactory::open`.
  Status open();

  Result<std::optional<std::string>> get(StoreIndex store, std::string_view key) override;
  Status multi_get(StoreIndex store, std::span<const std::string_view> keys,
                   std::span<std::optional<std::string>> values) override;
  Result<std::unique_ptr<EngineScan>> scan(StoreIndex store, std::optional<std::string_view> from,
                                           std::optional<std::string_view> to) override;
  Status apply(const Checkpoint& checkpoint) override;
  Result<std::optional<EnginePosition>> position(StoreIndex store) override;
  Result<std::map<std::string, std::int64_t>> source_offsets() override;
  Status clear(StoreIndex store) override;
  EngineStatistics statistics(StoreIndex store) override;
  /// Shares the tables by hard links where it can, and copies them where not.
  Status backup(const std::filesystem::path& directory) override;
  Status close() override;

 private:
  [[nodiscard]] Status check_open();
  [[nodiscard]] Status check(StoreIndex store);
  [[nodiscard]] Status check(const Checkpoint& checkpoint);
  /// Runs a write, and once more if the error was one of the disk that has gone.
  template <class Write>
  Status write(std::string_view action, Write&& attempt);
  Status leave_failure();

  const EngineOptions options_;
  const RocksDbOptions rocksdb_options_;
  std::shared_ptr<RocksDbDatabase> database_;  ///< Null once closed, or after a failed `open`.
  bool closed_ = false;
  bool write_failed_ = false;  ///< The database takes no writes until `leave_failure`.
  // Kept between calls of multi_get for their memory.
  std::vector<rocksdb::Slice> keys_;
  std::vector<rocksdb::PinnableSlice> values_;
  std::vector<rocksdb::Status> statuses_;
};

/// What `engines::rocksdb()` makes, on another environment. Tests inject disk errors with it; `env`
/// is borrowed.
[[nodiscard]] std::shared_ptr<EngineFactory> rocksdb_engines(
    const RocksDbBudget& budget, rocksdb::Env* env, const EngineSettings& database_settings = {});

}  // namespace millrace
