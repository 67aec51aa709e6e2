// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "millrace/serde.h"
#include "millrace/state_cache.h"
#include "millrace/time.h"
#include "millrace/versions.h"

namespace millrace {

/// A value and the time from which on it holds.
template <class V>
struct VersionedValue {
  V value;
  Timestamp timestamp;
};

/// A task's part of a versioned store, for processors: from K to V, as of any time within the
/// history.
///
/// The store observes the latest time ever put. The history reaches back from there by the
/// retention (inclusive): puts that are older are dropped, and so is what nobody can ask for any
/// more. The latest version of a key never expires. Times are 0 or later, resolution is the
/// millisecond.
///
/// A handle; belongs to the task's thread and lives as long as the task. Each version is logged
/// with the next commit. Reads see all earlier changes. Engine failures end the task's attempt (it
/// starts again from its last commit).
template <Serializable K, Serializable V>
class VersionedStore {
 public:
  static_assert(!detail::kIsView<V>,
                "a store keeps its values: use a type that owns its bytes, such as std::string");

  explicit VersionedStore(StateCache& cache) : versions_(cache), cache_(&cache) {}

  /// Sets the value of `key` from `timestamp` on, up to the next later version; nullopt: there is
  /// none from then on. A version of the same time is replaced. False: the time is before the
  /// history and nothing was put, which is counted (millrace_records_dropped_total, reason
  /// expired). Throws StatusError for a negative time.
  bool put(const K& key, std::optional<V> value, Timestamp timestamp) {
    StateEntry* entry = versions_.prepare_put(bytes(key), to_millis(timestamp));
    if (entry == nullptr) return false;
    std::construct_at(static_cast<detail::Version<V>*>(cache_->replace(*entry, timestamp)),
                      detail::Version<V>{std::move(value)});
    return true;
  }

  /// Deletes `key` from `timestamp` on, up to the next later version; the value that was in effect
  /// then, else nullopt.
  std::optional<VersionedValue<V>> erase(const K& key, Timestamp timestamp) {
    auto old = get_as_of(key, timestamp);
    return put(key, std::nullopt, timestamp) ? std::move(old) : std::nullopt;
  }

  /// The latest value, or nullopt if there is none or it was deleted.
  [[nodiscard]] std::optional<VersionedValue<V>> get(const K& key) const {
    return get_as_of(key, from_millis(std::numeric_limits<std::int64_t>::max()));
  }

  /// The value in effect at `timestamp`, or nullopt. Before the history: nullopt unless the latest
  /// version was in effect.
  [[nodiscard]] std::optional<VersionedValue<V>> get_as_of(const K& key,
                                                           Timestamp timestamp) const {
    const auto scan = versions_.as_of(bytes(key), to_millis(timestamp));
    if (!scan->valid()) return std::nullopt;
    const auto& version = *static_cast<const detail::Version<V>*>(scan->value());
    if (!version.value) return std::nullopt;
    return VersionedValue<V>{*version.value, scan->timestamp()};
  }

  [[nodiscard]] std::chrono::milliseconds history_retention() const {
    return cache_->layout().retention();
  }

 private:
  std::string_view bytes(const K& key) const {
    key_.clear();
    Serde<K>::encode(key, key_);
    return key_;
  }

  detail::Versions versions_;
  StateCache* cache_;
  mutable std::string key_;
};

}  // namespace millrace
