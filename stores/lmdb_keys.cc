// SPDX-License-Identifier: Apache-2.0
#include "stores/lmdb_keys.h"

#include <cstdint>
#include <memory>

#include "stores/big_endian.h"

namespace millrace {
namespace {

constexpr char kMarker = '\x01';
constexpr std::size_t kShortKeyBytesMax = kLmdbKeyBytesMax - 2;
constexpr std::size_t kBucketPrefixBytes = kLmdbKeyBytesMax - 1;

struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { ::mdb_cursor_close(cursor); }
};
using Cursor = std::unique_ptr<MDB_cursor, CloseCursor>;

int open_cursor(MDB_txn* transaction, MDB_dbi store, Cursor& cursor) {
  MDB_cursor* opened = nullptr;
  const int error = ::mdb_cursor_open(transaction, store, &opened);
  cursor.reset(opened);
  return error;
}

void append_entry(std::string& bucket, std::string_view rest, std::string_view value) {
  append_big_endian(bucket, static_cast<std::uint32_t>(rest.size()));
  append_big_endian(bucket, static_cast<std::uint32_t>(value.size()));
  bucket += rest;
  bucket += value;
}

int put(MDB_txn* transaction, MDB_dbi store, LmdbKey& key, std::string_view value) {
  MDB_val name = key.value();
  MDB_val content{value.size(), const_cast<char*>(value.data())};
  return ::mdb_put(transaction, store, &name, &content, 0);
}

int erase(MDB_txn* transaction, MDB_dbi store, LmdbKey& key) {
  MDB_val name = key.value();
  const int error = ::mdb_del(transaction, store, &name, nullptr);
  return error == MDB_NOTFOUND ? 0 : error;
}

int replace_bucket(MDB_txn* transaction, MDB_dbi store, LmdbKey& key, std::string_view bucket) {
  return bucket.empty() ? erase(transaction, store, key) : put(transaction, store, key, bucket);
}

// Merges two ascending sequences: what the bucket has, and changes that all belong to it.
int change_bucket(MDB_txn* transaction, MDB_dbi store, LmdbKey& key,
                  std::span<const EngineChange> changes) {
  MDB_val name = key.value();
  MDB_val old{};
  const int error = ::mdb_get(transaction, store, &name, &old);
  if (error != 0 && error != MDB_NOTFOUND) return error;
  LmdbBucket entry{error == 0 ? lmdb_bytes(old) : std::string_view{}};
  std::string bucket;
  for (const EngineChange& change : changes) {
    const std::string_view rest = change.key.substr(kBucketPrefixBytes);
    for (; entry.valid() && entry.rest() < rest; entry.next()) {
      append_entry(bucket, entry.rest(), entry.value());
    }
    if (entry.valid() && entry.rest() == rest) entry.next();
    if (change.value) append_entry(bucket, rest, *change.value);
  }
  for (; entry.valid(); entry.next()) append_entry(bucket, entry.rest(), entry.value());
  return entry.damaged() ? MDB_CORRUPTED : replace_bucket(transaction, store, key, bucket);
}

int trim_bucket(MDB_txn* transaction, MDB_dbi store, LmdbKey& bound) {
  MDB_val name = bound.value();
  MDB_val old{};
  const int error = ::mdb_get(transaction, store, &name, &old);
  if (error != 0) return error == MDB_NOTFOUND ? 0 : error;
  std::string bucket;
  LmdbBucket entry{lmdb_bytes(old)};
  for (; entry.valid(); entry.next()) {
    if (entry.rest() >= bound.rest()) append_entry(bucket, entry.rest(), entry.value());
  }
  return entry.damaged() ? MDB_CORRUPTED : replace_bucket(transaction, store, bound, bucket);
}

}  // namespace

LmdbKey::LmdbKey(std::string_view key) {
  const bool is_long = key.size() > kShortKeyBytesMax;
  const std::string_view kept = is_long ? key.substr(0, kBucketPrefixBytes) : key;
  bytes_.reserve(kept.size() + 1);
  bytes_ += kMarker;
  bytes_ += kept;
  if (is_long) rest_ = key.substr(kBucketPrefixBytes);
}

void LmdbBucket::next() {
  constexpr std::size_t kHeaderBytes = 2 * sizeof(std::uint32_t);
  valid_ = false;
  if (bytes_.empty()) return;
  damaged_ = true;
  if (bytes_.size() < kHeaderBytes) return;
  const std::size_t rest = take_big_endian<std::uint32_t>(bytes_);
  const std::size_t value = take_big_endian<std::uint32_t>(bytes_);
  if (bytes_.size() < rest + value) return;
  damaged_ = false;
  valid_ = true;
  rest_ = bytes_.substr(0, rest);
  value_ = bytes_.substr(rest, value);
  bytes_.remove_prefix(rest + value);
}

int lmdb_find(MDB_txn* transaction, MDB_dbi store, std::string_view key,
              std::optional<std::string_view>& value) {
  LmdbKey name{key};
  MDB_val wanted = name.value();
  MDB_val found{};
  value.reset();
  const int error = ::mdb_get(transaction, store, &wanted, &found);
  if (error != 0) return error == MDB_NOTFOUND ? 0 : error;
  if (!name.is_bucket()) {
    value = lmdb_bytes(found);
    return 0;
  }
  LmdbBucket entry{lmdb_bytes(found)};
  while (entry.valid() && entry.rest() < name.rest()) entry.next();
  if (entry.valid() && entry.rest() == name.rest()) value = entry.value();
  return entry.damaged() ? MDB_CORRUPTED : 0;
}

int lmdb_change(MDB_txn* transaction, MDB_dbi store, std::span<const EngineChange> changes) {
  int error = 0;
  for (std::size_t i = 0; error == 0 && i < changes.size();) {
    LmdbKey key{changes[i].key};
    std::size_t count = 1;
    if (key.is_bucket()) {
      const std::string_view prefix = changes[i].key.substr(0, kBucketPrefixBytes);
      while (i + count < changes.size() && changes[i + count].key.starts_with(prefix)) ++count;
      error = change_bucket(transaction, store, key, changes.subspan(i, count));
    } else if (changes[i].value) {
      error = put(transaction, store, key, *changes[i].value);
    } else {
      error = erase(transaction, store, key);
    }
    i += count;
  }
  return error;
}

int lmdb_erase_below(MDB_txn* transaction, MDB_dbi store, std::string_view bound) {
  LmdbKey end{bound};
  {
    Cursor cursor;
    int error = open_cursor(transaction, store, cursor);
    while (error == 0) {
      MDB_val key{};
      error = ::mdb_cursor_get(cursor.get(), &key, nullptr, MDB_FIRST);
      if (error != 0 || lmdb_bytes(key) >= end.bytes()) break;
      error = ::mdb_cursor_del(cursor.get(), 0);
    }
    if (error != 0 && error != MDB_NOTFOUND) return error;
  }
  return end.is_bucket() ? trim_bucket(transaction, store, end) : 0;
}

}  // namespace millrace
