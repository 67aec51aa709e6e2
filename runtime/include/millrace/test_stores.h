// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "millrace/session_store.h"
#include "millrace/state_cache.h"
#include "millrace/versioned_store.h"
#include "millrace/window_store.h"

/// What a TestDriver shows of stores that are not key-value: over all partitions, latest values,
/// also those not committed. Read only. Results are copied, partition by partition.
namespace millrace {

/// The parts of a store, one per task that runs now.
using StoreParts = std::function<std::vector<StateCache*>()>;

template <Serializable K, Serializable V>
class TestWindowStore {
 public:
  using Entries = std::vector<WindowedValue<K, V>>;

  explicit TestWindowStore(StoreParts parts) : parts_(std::move(parts)) {}

  [[nodiscard]] std::optional<V> get(const K& key, Timestamp window_start) const {
    for (StateCache* part : parts_()) {
      if (auto value = of(*part).get(key, window_start)) return value;
    }
    return std::nullopt;
  }
  /// Both bounds inclusive.
  [[nodiscard]] Entries fetch(const K& key, Timestamp from, Timestamp to) const {
    return collected([&](const auto& store) { return store.fetch(key, from, to); });
  }
  [[nodiscard]] Entries fetch_all(Timestamp from, Timestamp to) const {
    return collected([&](const auto& store) { return store.fetch_all(from, to); });
  }
  [[nodiscard]] Entries all() const {
    return collected([](const auto& store) { return store.all(); });
  }

 private:
  static WindowStore<K, V> of(StateCache& cache) {
    return {cache, [] { return Timestamp{}; }};
  }
  template <class Read>
  Entries collected(const Read& read) const {
    Entries entries;
    for (StateCache* part : parts_()) {
      for (auto entry : read(of(*part))) entries.push_back(std::move(entry));
    }
    return entries;
  }
  StoreParts parts_;
};

template <Serializable K, Serializable A>
class TestSessionStore {
 public:
  using Entries = std::vector<Session<K, A>>;

  explicit TestSessionStore(StoreParts parts) : parts_(std::move(parts)) {}

  /// Both bounds inclusive; as SessionStore.
  [[nodiscard]] Entries find_sessions(const K& key, Timestamp earliest_end,
                                      Timestamp latest_start) const {
    return collected(
        [&](const auto& store) { return store.find_sessions(key, earliest_end, latest_start); });
  }
  [[nodiscard]] Entries fetch(const K& key) const {
    return collected([&](const auto& store) { return store.fetch(key); });
  }
  [[nodiscard]] Entries all() const {
    return collected([](const auto& store) { return store.all(); });
  }

 private:
  template <class Read>
  Entries collected(const Read& read) const {
    Entries entries;
    for (StateCache* part : parts_()) {
      const SessionStore<K, A> store{*part, [] { return Timestamp{}; }};
      for (auto entry : read(store)) entries.push_back(std::move(entry));
    }
    return entries;
  }
  StoreParts parts_;
};

template <Serializable K, Serializable V>
class TestVersionedStore {
 public:
  explicit TestVersionedStore(StoreParts parts) : parts_(std::move(parts)) {}

  [[nodiscard]] std::optional<VersionedValue<V>> get(const K& key) const {
    return first([&](const auto& store) { return store.get(key); });
  }
  [[nodiscard]] std::optional<VersionedValue<V>> get_as_of(const K& key,
                                                           Timestamp timestamp) const {
    return first([&](const auto& store) { return store.get_as_of(key, timestamp); });
  }

 private:
  template <class Read>
  std::optional<VersionedValue<V>> first(const Read& read) const {
    for (StateCache* part : parts_()) {
      if (auto value = read(VersionedStore<K, V>{*part})) return value;
    }
    return std::nullopt;
  }
  StoreParts parts_;
};

}  // namespace millrace
