// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <lmdb.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "millrace/engine.h"
#include "stores/lmdb_environment.h"
#include "stores/lmdb_keys.h"

namespace millrace {

/// Walks a store in a read transaction. Keeps the environment open, and its file from growing.
class LmdbScan final : public EngineScan {
 public:
  explicit LmdbScan(std::shared_ptr<LmdbEnvironment> environment);
  ~LmdbScan() override;
  LmdbScan(const LmdbScan&) = delete;
  LmdbScan& operator=(const LmdbScan&) = delete;

  /// Before all other calls: goes to the first entry.
  Status start(StoreIndex store, std::optional<std::string_view> from,
               std::optional<std::string_view> to);

  bool valid() const override { return valid_; }
  void next() override;
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  Status status() const override;

 private:
  int move(MDB_cursor_op operation);
  void advance(MDB_cursor_op operation, std::string_view from_rest);
  bool take_from_bucket(std::string_view from_rest);
  void end_after_bound();

  std::shared_ptr<LmdbEnvironment> environment_;
  MDB_txn* transaction_ = nullptr;
  MDB_cursor* cursor_ = nullptr;
  MDB_val current_key_{};
  MDB_val current_value_{};
  std::optional<LmdbBucket> bucket_;  ///< Set while the cursor stands on one.
  std::optional<std::string> to_;
  std::string long_key_;
  std::string_view key_;
  std::string_view value_;
  bool valid_ = false;
  int error_ = 0;
};

}  // namespace millrace
