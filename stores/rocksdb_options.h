// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/options.h>

#include <memory>

#include "millrace/engine.h"

namespace millrace {

/// How every database of a process is opened, and the memory that all of them share. Thread-safe:
/// constant.
class RocksDbOptions {
 public:
  /// `env` is borrowed and outlives every database.
  RocksDbOptions(const RocksDbBudget& budget, rocksdb::Env* env);

  [[nodiscard]] const rocksdb::DBOptions& database() const { return database_; }
  [[nodiscard]] const rocksdb::ColumnFamilyOptions& store() const { return store_; }
  /// The column family of the positions: few keys, one of which is counted by a merge.
  [[nodiscard]] const rocksdb::ColumnFamilyOptions& positions() const { return positions_; }

 private:
  rocksdb::DBOptions database_;
  rocksdb::ColumnFamilyOptions store_;
  rocksdb::ColumnFamilyOptions positions_;
};

}  // namespace millrace
