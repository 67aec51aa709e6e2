// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "millrace/serde.h"
#include "millrace/state_cache.h"
#include "millrace/time.h"
#include "millrace/timed_scan.h"

namespace millrace {

/// A value of a window, as iteration yields it.
template <class K, class V>
struct WindowedValue {
  K key;
  Timestamp window_start;
  V value;
  Timestamp timestamp;  ///< When it was set.
};

namespace detail {

template <class K, class V>
struct DecodeWindow {
  WindowedValue<K, V> operator()(const TimedScan& scan) const {
    auto key = Serde<K>::decode(scan.key());
    if (!key) throw StoreFailure(key.error());
    return {*std::move(key), from_millis(scan.time()), *static_cast<const V*>(scan.value()),
            scan.timestamp()};
  }
};

}  // namespace detail

template <class K, class V>
using WindowRange = TimedRange<WindowedValue<K, V>, detail::DecodeWindow<K, V>>;

/// A task's part of a window store, for processors: from K and the start of a window to V.
///
/// Windows expire: the store observes the latest start ever put, and what started `retention` or
/// more before it is gone, for reads at once, from the engine by and by. Starts may be negative or
/// far in the future; a far-future one makes all before it expire. Bounds of starts are inclusive,
/// resolution is the millisecond.
///
/// A handle; belongs to the task's thread and lives as long as the task. Each change is logged with
/// the next commit. Reads see all earlier changes. Engine failures end the task's attempt (it
/// starts again from its last commit).
template <Serializable K, Serializable V>
class WindowStore {
 public:
  /// `now` is called at each change for its timestamp. `sequence` gives where the numbers of
  /// duplicates start: above 0, the same again when a record is processed again; only called if the
  /// store keeps duplicates.
  WindowStore(StateCache& cache, std::function<Timestamp()> now,
              std::function<std::int64_t()> sequence = {})
      : cache_(&cache), now_(std::move(now)), sequence_(std::move(sequence)) {}

  /// Sets the value of `key` in the window from `window_start` on; a store of duplicates adds it.
  /// False: the window has expired and nothing was put, which is counted
  /// (millrace_records_dropped_total, reason expired).
  bool put(const K& key, V value, Timestamp window_start) {
    if (!cache_->observe(to_millis(window_start))) return false;
    StateEntry* entry = nullptr;
    if (!cache_->layout().duplicates()) {
      entry = &cache_->load(place(key, window_start, 0));
    } else {
      std::int64_t number = sequence_ ? sequence_() : 1;
      do entry = &cache_->load(place(key, window_start, number++ & kSequenceMax));
      while (entry->present());
    }
    std::construct_at(static_cast<V*>(cache_->replace(*entry, now_())), std::move(value));
    return true;
  }

  /// The value, copied, or nullopt; also once it has expired. Of a store of duplicates: the first
  /// one.
  [[nodiscard]] std::optional<V> get(const K& key, Timestamp window_start) const {
    if (cache_->layout().duplicates()) {
      for (auto entry : fetch(key, window_start, window_start)) return std::move(entry.value);
      return std::nullopt;
    }
    const StateEntry* entry = find(key, window_start);
    if (entry == nullptr) return std::nullopt;
    return *static_cast<const V*>(entry->value());
  }
  /// The same, under Kafka Streams' name.
  [[nodiscard]] std::optional<V> fetch(const K& key, Timestamp window_start) const {
    return get(key, window_start);
  }

  /// The windows of `key` that start within [from, to], in the order of their starts.
  [[nodiscard]] WindowRange<K, V> fetch(const K& key, Timestamp from, Timestamp to) const {
    encode(key);
    return WindowRange<K, V>{TimedScan{*cache_, key_, to_millis(from), to_millis(to)}};
  }
  /// The windows of all keys that start within [from, to], ordered as TimedScan says.
  [[nodiscard]] WindowRange<K, V> fetch_all(Timestamp from, Timestamp to) const {
    return WindowRange<K, V>{TimedScan{*cache_, std::nullopt, to_millis(from), to_millis(to)}};
  }
  [[nodiscard]] WindowRange<K, V> all() const {
    return fetch_all(Timestamp::min(), Timestamp::max());
  }

  /// Removes a window; the value it had, else nullopt. A missing one is no error and logs nothing.
  /// Does nothing in a store of duplicates, whose entries only expire.
  std::optional<V> erase(const K& key, Timestamp window_start) {
    StateEntry* entry = cache_->layout().duplicates() ? nullptr : find(key, window_start);
    if (entry == nullptr) return std::nullopt;
    std::optional<V> old = *static_cast<const V*>(entry->value());
    cache_->erase(*entry, now_());
    return old;
  }

  [[nodiscard]] std::chrono::milliseconds window_size() const {
    return cache_->layout().window_size();
  }
  /// About how many entries there are; expired ones may count for a while.
  [[nodiscard]] std::uint64_t approximate_entries() const { return cache_->approximate_entries(); }

 private:
  static constexpr std::int64_t kSequenceMax = 0x7fffffff;

  void encode(const K& key) const {
    key_.clear();
    Serde<K>::encode(key, key_);
  }
  std::string_view place(const K& key, Timestamp start, std::int64_t sequence) const {
    encode(key);
    cache_->layout().compose(key_, to_millis(start), sequence, engine_key_);
    return engine_key_;
  }
  StateEntry* find(const K& key, Timestamp start) const {
    if (!cache_->layout().is_live(to_millis(start), cache_->observed_time())) return nullptr;
    StateEntry& entry = cache_->load(place(key, start, 0));
    return entry.present() ? &entry : nullptr;
  }

  StateCache* cache_;
  std::function<Timestamp()> now_;
  std::function<std::int64_t()> sequence_;
  mutable std::string key_;
  mutable std::string engine_key_;
};

}  // namespace millrace
