// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <lmdb.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "millrace/engine.h"

namespace millrace {

// LMDB takes keys of 1 to 511 bytes. A store's keys have any length, so they are kept like this, in
// the same order:
//
//   key of up to 509 bytes   0x01 | key                 ->  value
//   longer keys              0x01 | first 510 bytes     ->  bucket of all keys that begin so
//
// A bucket is a sequence of entries, ascending by rest (integers big-endian):
//
//   +-------------+--------------+------------------+-------+
//   | rest length | value length | rest of the key  | value |
//   | u32         | u32          |                  |       |
//   +-------------+--------------+------------------+-------+
//
// Only a bucket's key has 511 bytes. Changing a long key costs as much as its bucket is large.

inline constexpr std::size_t kLmdbKeyBytesMax = 511;

/// The bytes under which LMDB has a key or its bucket.
class LmdbKey {
 public:
  explicit LmdbKey(std::string_view key);

  [[nodiscard]] MDB_val value() { return {bytes_.size(), bytes_.data()}; }
  [[nodiscard]] std::string_view bytes() const { return bytes_; }
  /// Whether it is a bucket's.
  [[nodiscard]] bool is_bucket() const { return bytes_.size() == kLmdbKeyBytesMax; }
  /// What of the key is kept in the bucket; borrowed from the key.
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  std::string bytes_;
  std::string_view rest_;
};

[[nodiscard]] inline std::string_view lmdb_bytes(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

/// Walks a bucket's entries. Borrows its bytes.
class LmdbBucket {
 public:
  explicit LmdbBucket(std::string_view bytes) : bytes_(bytes) { next(); }

  [[nodiscard]] bool valid() const { return valid_; }
  /// The bytes were not a bucket's.
  [[nodiscard]] bool damaged() const { return damaged_; }
  void next();
  [[nodiscard]] std::string_view rest() const { return rest_; }
  [[nodiscard]] std::string_view value() const { return value_; }

 private:
  std::string_view bytes_;
  std::string_view rest_;
  std::string_view value_;
  bool valid_ = false;
  bool damaged_ = false;
};

// The functions return LMDB's codes; views live as long as the transaction.

/// The value of a key, or nullopt.
int lmdb_find(MDB_txn* transaction, MDB_dbi store, std::string_view key,
              std::optional<std::string_view>& value);

/// Applies changes, which ascend by key.
int lmdb_change(MDB_txn* transaction, MDB_dbi store, std::span<const EngineChange> changes);

/// Removes all keys below `bound`.
int lmdb_erase_below(MDB_txn* transaction, MDB_dbi store, std::string_view bound);

}  // namespace millrace
