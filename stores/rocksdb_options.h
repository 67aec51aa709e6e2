// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/options.h>

#include <memory>
#include <string>

#include "millrace/engine.h"

namespace millrace {

/// How every database of a process is opened, and the memory that all of them share. Thread-safe:
/// constant.
class RocksDbOptions {
 public:
  /// `env` is borrowed and outlives every database.
  RocksDbOptions(const RocksDbBudget& budget, rocksdb::Env* env,
                 const EngineSettings& database_settings = {});

  /// What is wrong with the settings of the databases, naming the option.
  [[nodiscard]] const Status& status() const { return status_; }

  [[nodiscard]] const rocksdb::DBOptions& database() const { return database_; }
  [[nodiscard]] const rocksdb::ColumnFamilyOptions& store() const { return store_; }
  /// `store()` with settings of one store: RocksDB's column family options by their names.
  /// invalid_argument names store, option and what is wrong.
  [[nodiscard]] Result<rocksdb::ColumnFamilyOptions> store(const std::string& name,
                                                           const EngineSettings& settings) const;
  /// The column family of the positions: few keys, one of which is counted by a merge.
  [[nodiscard]] const rocksdb::ColumnFamilyOptions& positions() const { return positions_; }

 private:
  rocksdb::DBOptions database_;
  rocksdb::ColumnFamilyOptions store_;
  rocksdb::ColumnFamilyOptions positions_;
  Status status_;
};

}  // namespace millrace
