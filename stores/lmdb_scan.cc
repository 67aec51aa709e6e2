// SPDX-License-Identifier: Apache-2.0
#include "stores/lmdb_scan.h"

#include <utility>

#include "stores/lmdb_status.h"

namespace millrace {

LmdbScan::LmdbScan(std::shared_ptr<LmdbEnvironment> environment)
    : environment_(std::move(environment)) {}

LmdbScan::~LmdbScan() {
  if (cursor_ != nullptr) ::mdb_cursor_close(cursor_);
  if (transaction_ != nullptr) environment_->end_scan(transaction_);
}

Status LmdbScan::start(StoreIndex store, std::optional<std::string_view> from,
                       std::optional<std::string_view> to) {
  if (to) to_ = *to;
  error_ = environment_->begin_scan(&transaction_);
  if (error_ == 0) error_ = ::mdb_cursor_open(transaction_, environment_->store(store), &cursor_);
  if (error_ != 0) return status();
  LmdbKey first{from.value_or(std::string_view{})};
  current_key_ = first.value();
  advance(MDB_SET_RANGE, first.rest());
  return status();
}

void LmdbScan::next() {
  if (bucket_) {
    bucket_->next();
    if (take_from_bucket({})) return;
  }
  if (error_ == 0) advance(MDB_NEXT, {});
}

int LmdbScan::move(MDB_cursor_op operation) {
  return ::mdb_cursor_get(cursor_, &current_key_, &current_value_, operation);
}

// Stands on the next entry, or nowhere. `from_rest` holds for the bucket of the scan's first key.
void LmdbScan::advance(MDB_cursor_op operation, std::string_view from_rest) {
  const std::string wanted =
      operation == MDB_SET_RANGE ? std::string{lmdb_bytes(current_key_)} : std::string{};
  valid_ = false;
  for (error_ = move(operation); error_ == 0; error_ = move(MDB_NEXT)) {
    const std::string_view stored = lmdb_bytes(current_key_);
    if (stored.size() < kLmdbKeyBytesMax) {
      valid_ = true;
      key_ = stored.substr(1);
      value_ = lmdb_bytes(current_value_);
      end_after_bound();
      return;
    }
    bucket_.emplace(lmdb_bytes(current_value_));
    if (take_from_bucket(stored == wanted ? from_rest : std::string_view{}) || error_ != 0) return;
  }
  if (error_ == MDB_NOTFOUND) error_ = 0;
}

bool LmdbScan::take_from_bucket(std::string_view from_rest) {
  while (bucket_->valid() && bucket_->rest() < from_rest) bucket_->next();
  valid_ = bucket_->valid();
  if (!valid_) {
    if (bucket_->damaged()) error_ = MDB_CORRUPTED;
    bucket_.reset();
    return false;
  }
  long_key_ = lmdb_bytes(current_key_).substr(1);
  long_key_ += bucket_->rest();
  key_ = long_key_;
  value_ = bucket_->value();
  end_after_bound();
  return true;
}

void LmdbScan::end_after_bound() {
  if (!to_ || key_ <= *to_) return;
  valid_ = false;
}

Status LmdbScan::status() const {
  return lmdb_status(error_, "scan a store", environment_->directory());
}

}  // namespace millrace
