// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "millrace/serde.h"
#include "millrace/state_cache.h"
#include "millrace/time.h"

namespace millrace {

/// A key with its value, as iteration yields them.
template <class K, class V>
struct KeyValue {
  K key;
  V value;
  Timestamp timestamp;
};

/// Entries of a key-value store in ascending byte order of the encoded key, decoded one by one. A
/// consistent cut.
template <class K, class V>
class KeyValueRange {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = KeyValue<K, V>;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = value_type;

    iterator() = default;
    explicit iterator(StateScan* scan) : scan_(scan) {}
    value_type operator*() const {
      auto key = Serde<K>::decode(scan_->key());
      if (!key) throw StoreFailure(key.error());
      return {*std::move(key), *static_cast<const V*>(scan_->value()), scan_->timestamp()};
    }
    iterator& operator++() {
      scan_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return scan_ == nullptr || !scan_->valid(); }

   private:
    StateScan* scan_ = nullptr;
  };

  explicit KeyValueRange(std::unique_ptr<StateScan> scan) : scan_(std::move(scan)) {}
  [[nodiscard]] iterator begin() const { return iterator{scan_.get()}; }
  [[nodiscard]] std::default_sentinel_t end() const { return {}; }

 private:
  std::unique_ptr<StateScan> scan_;
};

/// A task's part of a key-value store, for processors: an ordered map from K to V with a timestamp
/// per entry.
///
/// A handle; belongs to the task's thread and lives as long as the task. Each change is logged with
/// the next commit. Reads see all earlier changes. Engine failures end the task's attempt (it
/// starts again from its last commit).
template <Serializable K, Serializable V>
class KeyValueStore {
 public:
  /// `now` is called at each change for its timestamp.
  KeyValueStore(StateCache& cache, std::function<Timestamp()> now)
      : cache_(&cache), now_(std::move(now)) {}

  /// The value of `key`, copied, or nullopt. O(1) in the cache; may read the engine.
  [[nodiscard]] std::optional<V> get(const K& key) const {
    const StateEntry& entry = cache_->load(bytes(key));
    if (!entry.present()) return std::nullopt;
    return *static_cast<const V*>(entry.value());
  }

  /// When the value was set, or nullopt.
  [[nodiscard]] std::optional<Timestamp> timestamp(const K& key) const {
    const StateEntry& entry = cache_->load(bytes(key));
    if (!entry.present()) return std::nullopt;
    return entry.timestamp();
  }

  /// This and the next two throw StatusError in a table whose topic is its changelog: it is
  /// read-only (`Topology::table`).
  void put(const K& key, V value) {
    cache_->check_writable();
    std::construct_at(static_cast<V*>(cache_->replace(cache_->load(bytes(key)), now_())),
                      std::move(value));
  }

  /// Sets the value if there is none; returns the one that was there, else nullopt.
  std::optional<V> put_if_absent(const K& key, V value) {
    cache_->check_writable();
    StateEntry& entry = cache_->load(bytes(key));
    if (entry.present()) return *static_cast<const V*>(entry.value());
    std::construct_at(static_cast<V*>(cache_->replace(entry, now_())), std::move(value));
    return std::nullopt;
  }

  /// Removes `key`; the value it had, else nullopt. A missing key is no error and logs nothing.
  std::optional<V> erase(const K& key) {
    cache_->check_writable();
    StateEntry& entry = cache_->load(bytes(key));
    if (!entry.present()) return std::nullopt;
    std::optional<V> old = *static_cast<const V*>(entry.value());
    cache_->erase(entry, now_());
    return old;
  }

  /// Entries with from <= key <= to, both ends inclusive, in byte order of the encoded key.
  [[nodiscard]] KeyValueRange<K, V> range(const K& from, const K& to) const {
    const std::string first = encoded(from);
    const std::string last = encoded(to);
    return KeyValueRange<K, V>{cache_->scan(first, last)};
  }

  [[nodiscard]] KeyValueRange<K, V> all() const {
    return KeyValueRange<K, V>{cache_->scan({}, {})};
  }

  /// About how many entries there are; deleted and overwritten ones may count for a while.
  [[nodiscard]] std::uint64_t approximate_entries() const { return cache_->approximate_entries(); }

 private:
  static std::string encoded(const K& key) {
    std::string out;
    Serde<K>::encode(key, out);
    return out;
  }
  std::string_view bytes(const K& key) const {
    scratch_.clear();
    Serde<K>::encode(key, scratch_);
    return scratch_;
  }

  StateCache* cache_;
  std::function<Timestamp()> now_;
  mutable std::string scratch_;
};

}  // namespace millrace
