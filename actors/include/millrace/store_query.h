// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "millrace/error.h"
#include "millrace/key_value_store.h"
#include "millrace/session_store.h"
#include "millrace/store_read.h"
#include "millrace/versioned_store.h"
#include "millrace/window_store.h"

/// Reads of the stores of a running App by threads of the program.
///
/// What App::store and its like return are cheap handles, good while the App lives, for any thread.
/// They show the partitions that this instance owns. A task answers between two batches, a page of
/// at most 1,000 entries and 1 MiB at a time: a page never shows half of a record or of a batch,
/// and no read holds a task for long. Results are the caller's.
///
/// A key is looked for in the partition where Java's partitioner puts it, then in the others owned
/// here: records may have come by another partitioner.
///
/// Errors: NotReadyError with its reason, StatusError for a value that cannot be decoded, an engine
/// that fails or a `limit` of 0. The `try_` forms give the Status instead: unavailable (restoring,
/// or no answer in 10 s), fenced (moved), cancelled (stopped).
namespace millrace {

class App;

/// Where a read that met its limit goes on.
class PageToken {
 public:
  PageToken() = default;
  /// The beginning, or nothing more to read.
  [[nodiscard]] bool empty() const { return partition_ < 0; }

 private:
  friend class StoreReads;
  std::int32_t partition_ = -1;
  std::optional<std::string> after_;
};

/// Entries of a store, by partition.
template <class Entry>
struct Page {
  std::vector<Entry> entries;
  PageToken next = {};  ///< Empty: that was all.

  [[nodiscard]] auto begin() const { return entries.begin(); }
  [[nodiscard]] auto end() const { return entries.end(); }
  [[nodiscard]] std::size_t size() const { return entries.size(); }
  [[nodiscard]] bool empty() const { return entries.empty(); }
};

/// No limit but memory.
inline constexpr std::size_t kAllEntries = std::numeric_limits<std::size_t>::max();

/// The untyped half of the queries.
class StoreReads {
 public:
  StoreReads(const App& app, std::string store, ReadLevel level)
      : app_(&app), store_(std::move(store)), level_(level) {}

 protected:
  using Entries = Page<StoredEntry>;

  /// Entries of one key, all from the partition that has any.
  [[nodiscard]] Result<Entries> of_key(ReadRequest request, std::size_t limit) const;
  /// Entries of all partitions owned.
  [[nodiscard]] Result<Entries> of_all(ReadRequest request, std::size_t limit,
                                       const PageToken& from) const;

  template <class T>
  static T value_or_throw(Result<T> result) {
    if (result) return *std::move(result);
    throw_status(result.error());
  }
  [[noreturn]] static void throw_status(const Status& status);

  template <class T>
  static std::string encoded(const T& key) {
    std::string bytes;
    Serde<T>::encode(key, bytes);
    return bytes;
  }
  template <class T>
  static T decoded(const std::string& bytes) {
    return value_or_throw(Serde<T>::decode(bytes));
  }
  /// `decode`: from a StoredEntry.
  template <class Decode>
  static auto decoded_page(Result<Entries> result, const Decode& decode) {
    Entries raw = value_or_throw(std::move(result));
    Page<decltype(decode(raw.entries.front()))> page;
    page.next = std::move(raw.next);
    page.entries.reserve(raw.entries.size());
    for (const auto& entry : raw.entries) page.entries.push_back(decode(entry));
    return page;
  }

 private:
  const App* app_;
  std::string store_;
  ReadLevel level_;
};

/// Reads a key-value store.
template <Serializable K, Serializable V>
class StoreQuery : private StoreReads {
 public:
  using StoreReads::StoreReads;
  using Entry = KeyValue<K, V>;

  /// The value of `key`, nullopt if there is none.
  [[nodiscard]] std::optional<V> get(const K& key) const { return value_or_throw(try_get(key)); }

  [[nodiscard]] Result<std::optional<V>> try_get(const K& key) const {
    auto found = of_key({.key = encoded(key)}, 1);
    if (!found) return found.error();
    if (found->empty()) return std::optional<V>{};
    auto value = Serde<V>::decode(found->entries.front().value);
    if (!value) return value.error();
    return std::optional<V>{*std::move(value)};
  }

  /// Entries with from <= key <= to, both ends inclusive, by partition and byte order of the
  /// encoded key. At most `limit`; `after` is `next` of the page before.
  [[nodiscard]] Page<Entry> range(const K& from, const K& to, std::size_t limit = kAllEntries,
                                  const PageToken& after = {}) const {
    return decoded_page(of_all({.from = encoded(from), .to = encoded(to)}, limit, after), &decode);
  }
  [[nodiscard]] Page<Entry> all(std::size_t limit = kAllEntries,
                                const PageToken& after = {}) const {
    return decoded_page(of_all({}, limit, after), &decode);
  }

 private:
  static Entry decode(const StoredEntry& entry) {
    return {decoded<K>(entry.key), decoded<V>(entry.value), entry.timestamp};
  }
};

/// Reads a window store.
template <Serializable K, Serializable V>
class WindowStoreQuery : private StoreReads {
 public:
  using StoreReads::StoreReads;
  using Entry = WindowedValue<K, V>;

  /// The windows of `key` that start within [from, to], in the order of their starts; at most
  /// `limit`.
  [[nodiscard]] Page<Entry> fetch(const K& key, Timestamp from, Timestamp to,
                                  std::size_t limit = kAllEntries) const {
    return decoded_page(
        of_key({.key = encoded(key), .time_from = to_millis(from), .time_to = to_millis(to)},
               limit),
        &decode);
  }
  /// The value of the window of `key` that starts at `start`, or nullopt.
  [[nodiscard]] std::optional<V> get(const K& key, Timestamp start) const {
    auto found = fetch(key, start, start, 1);
    if (found.empty()) return std::nullopt;
    return std::move(found.entries.front().value);
  }
  /// The windows of all keys that start within [from, to], by partition, then by segment of time,
  /// key and start.
  [[nodiscard]] Page<Entry> fetch_all(Timestamp from, Timestamp to, std::size_t limit = kAllEntries,
                                      const PageToken& after = {}) const {
    return decoded_page(
        of_all({.time_from = to_millis(from), .time_to = to_millis(to)}, limit, after), &decode);
  }

 private:
  static Entry decode(const StoredEntry& entry) {
    return {decoded<K>(entry.key), from_millis(entry.time), decoded<V>(entry.value),
            entry.timestamp};
  }
};

/// Reads a session store.
template <Serializable K, Serializable A>
class SessionStoreQuery : private StoreReads {
 public:
  using StoreReads::StoreReads;
  using Entry = Session<K, A>;

  /// The sessions of `key` that end at `earliest_end` or later and start at `latest_start` or
  /// earlier, in the order of their ends; at most `limit`.
  [[nodiscard]] Page<Entry> find_sessions(const K& key, Timestamp earliest_end,
                                          Timestamp latest_start,
                                          std::size_t limit = kAllEntries) const {
    return decoded_page(of_key({.key = encoded(key),
                                .time_from = to_millis(earliest_end),
                                .detail_max = to_millis(latest_start)},
                               limit),
                        &decode);
  }
  /// All sessions of `key`.
  [[nodiscard]] Page<Entry> fetch(const K& key, std::size_t limit = kAllEntries) const {
    return find_sessions(key, Timestamp::min(), Timestamp::max(), limit);
  }

 private:
  static Entry decode(const StoredEntry& entry) {
    return {decoded<K>(entry.key),
            {from_millis(entry.detail), from_millis(entry.time)},
            decoded<A>(entry.value),
            entry.timestamp};
  }
};

/// Reads a versioned store.
template <Serializable K, Serializable V>
class VersionedStoreQuery : private StoreReads {
 public:
  using StoreReads::StoreReads;

  /// The latest value, or nullopt if there is none or it was deleted.
  [[nodiscard]] std::optional<VersionedValue<V>> get(const K& key) const {
    return get_as_of(key, from_millis(std::numeric_limits<std::int64_t>::max()));
  }
  /// The value in effect at `timestamp`, or nullopt; before the history as VersionedStore says.
  [[nodiscard]] std::optional<VersionedValue<V>> get_as_of(const K& key,
                                                           Timestamp timestamp) const {
    const auto found =
        value_or_throw(of_key({.key = encoded(key), .time_to = to_millis(timestamp)}, 1));
    if (found.empty()) return std::nullopt;
    auto version = decoded<detail::Version<V>>(found.entries.front().value);
    if (!version.value) return std::nullopt;
    return VersionedValue<V>{*std::move(version.value), from_millis(found.entries.front().time)};
  }
};

}  // namespace millrace
