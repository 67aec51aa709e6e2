// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <lmdb.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/engine.h"
#include "millrace/error.h"
#include "stores/file_lock.h"

namespace millrace {

/// An open LMDB and its named databases: one per store, under the store's name, and one for the
/// positions.
///
/// Shared by the engine and its scans: the files are released when the last of them goes. Not
/// thread-safe: one call at a time, from changing threads.
class LmdbEnvironment {
 public:
  static Result<std::shared_ptr<LmdbEnvironment>> open(const EngineOptions& options,
                                                       const LmdbOptions& lmdb_options);

  LmdbEnvironment(const LmdbEnvironment&) = delete;
  LmdbEnvironment& operator=(const LmdbEnvironment&) = delete;
  ~LmdbEnvironment();

  [[nodiscard]] MDB_dbi store(StoreIndex index) const { return stores_[index]; }
  [[nodiscard]] MDB_dbi positions() const { return positions_; }
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }
  /// What the file takes on disk.
  [[nodiscard]] std::uint64_t file_bytes() const;
  [[nodiscard]] std::size_t page_bytes() const;
  /// Whether it has to be opened again after an error.
  [[nodiscard]] bool is_broken() const { return broken_; }

  /// A read transaction for one call. There is one at a time, which keeps its memory.
  class Read {
   public:
    explicit Read(LmdbEnvironment& environment);
    ~Read();
    Read(const Read&) = delete;
    Read& operator=(const Read&) = delete;
    /// Not null if `error()` is 0.
    [[nodiscard]] MDB_txn* transaction() const { return transaction_; }
    [[nodiscard]] int error() const { return error_; }

   private:
    MDB_txn* transaction_ = nullptr;
    int error_ = 0;
  };

  /// A read transaction of its own, which keeps the file from growing while it lives.
  int begin_scan(MDB_txn** transaction);
  void end_scan(MDB_txn* transaction);

  /// Runs `change` in a write transaction, again in a larger file if it was full. `change` returns
  /// LMDB's codes; anything but success undoes it all.
  Status write(std::string_view action, const std::function<int(MDB_txn*)>& change);

  /// Copies the file, as of the last commit, into an empty directory.
  int copy_to(const std::filesystem::path& directory) {
    return ::mdb_env_copy(environment_, directory.c_str());
  }

  /// Syncs what the last commit has left to the operating system.
  int sync() { return ::mdb_env_sync(environment_, 1); }

 private:
  LmdbEnvironment(std::filesystem::path directory, const LmdbOptions& options, FileLock lock);

  int open_file();
  Status check_file() const;
  void fill_file();
  [[nodiscard]] std::uint64_t needed_bytes() const;
  Status open_stores(const std::vector<std::string>& names);
  int attempt(const std::function<int(MDB_txn*)>& change);
  Status grow(std::string_view action);
  [[nodiscard]] std::size_t map_bytes() const;

  const std::filesystem::path directory_;
  const LmdbOptions options_;
  const FileLock lock_;
  MDB_env* environment_ = nullptr;
  MDB_txn* reader_ = nullptr;  ///< Reset between two calls.
  std::vector<MDB_dbi> stores_;
  MDB_dbi positions_ = 0;
  std::size_t open_scans_ = 0;
  bool broken_ = false;
};

}  // namespace millrace
