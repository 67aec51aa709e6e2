// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "millrace/serde.h"
#include "millrace/state_cache.h"
#include "millrace/time.h"
#include "millrace/timed_scan.h"

namespace millrace {

/// From the first to the last record of a session, both inclusive.
struct SessionWindow {
  Timestamp start;
  Timestamp end;

  friend bool operator==(const SessionWindow&, const SessionWindow&) = default;
};

/// A session, as iteration yields it.
template <class K, class A>
struct Session {
  K key;
  SessionWindow window;
  A value;
  Timestamp timestamp;  ///< When it was set.
};

namespace detail {

template <class K, class A>
struct DecodeSession {
  Session<K, A> operator()(const TimedScan& scan) const {
    auto key = Serde<K>::decode(scan.key());
    if (!key) throw StoreFailure(key.error());
    return {*std::move(key),
            {from_millis(scan.detail()), from_millis(scan.time())},
            *static_cast<const A*>(scan.value()),
            scan.timestamp()};
  }
};

}  // namespace detail

template <class K, class A>
using SessionRange = TimedRange<Session<K, A>, detail::DecodeSession<K, A>>;

/// A task's part of a session store, for processors: from K and a session's start and end to A.
///
/// Sessions expire: the store observes the latest end ever put, and what ended `retention` or more
/// before it is gone, for reads at once, from the engine by and by. Bounds are inclusive,
/// resolution is the millisecond.
///
/// A handle; belongs to the task's thread and lives as long as the task. Each change is logged with
/// the next commit. Reads see all earlier changes. Engine failures end the task's attempt (it
/// starts again from its last commit).
template <Serializable K, Serializable A>
class SessionStore {
 public:
  /// `now` is called at each change for its timestamp.
  SessionStore(StateCache& cache, std::function<Timestamp()> now)
      : cache_(&cache), now_(std::move(now)) {}

  /// Sets the aggregate of a session. False: it has expired and nothing was put, which is counted
  /// (millrace_records_dropped_total, reason expired). Throws StatusError if the session ends
  /// before it starts.
  bool put(const K& key, SessionWindow window, A aggregate) {
    check(window);
    if (!cache_->observe(to_millis(window.end))) return false;
    std::construct_at(static_cast<A*>(cache_->replace(cache_->load(place(key, window)), now_())),
                      std::move(aggregate));
    return true;
  }

  /// The aggregate of exactly this session, copied, or nullopt; also once it has expired.
  [[nodiscard]] std::optional<A> get(const K& key, SessionWindow window) const {
    const StateEntry* entry = find(key, window);
    if (entry == nullptr) return std::nullopt;
    return *static_cast<const A*>(entry->value());
  }

  /// The sessions of `key` that end at `earliest_end` or later and start at `latest_start` or
  /// earlier, in the order of their ends. With a time t and a gap g, those that a record at t
  /// joins: find_sessions(key, t - g, t + g).
  [[nodiscard]] SessionRange<K, A> find_sessions(const K& key, Timestamp earliest_end,
                                                 Timestamp latest_start) const {
    encode(key);
    return SessionRange<K, A>{
        TimedScan{*cache_, key_, to_millis(earliest_end), std::numeric_limits<std::int64_t>::max()},
        to_millis(latest_start)};
  }

  /// All sessions of `key`, in the order of their ends.
  [[nodiscard]] SessionRange<K, A> fetch(const K& key) const {
    return find_sessions(key, Timestamp::min(), Timestamp::max());
  }

  /// All sessions, ordered as TimedScan says.
  [[nodiscard]] SessionRange<K, A> all() const {
    constexpr auto kEver = std::numeric_limits<std::int64_t>::max();
    return SessionRange<K, A>{TimedScan{*cache_, std::nullopt, KeyLayout::kNoTime, kEver}};
  }

  /// Removes a session; the aggregate it had, else nullopt. A missing one is no error and logs
  /// nothing.
  std::optional<A> remove(const K& key, SessionWindow window) {
    StateEntry* entry = find(key, window);
    if (entry == nullptr) return std::nullopt;
    std::optional<A> old = *static_cast<const A*>(entry->value());
    cache_->erase(*entry, now_());
    return old;
  }

  /// About how many entries there are; expired ones may count for a while.
  [[nodiscard]] std::uint64_t approximate_entries() const { return cache_->approximate_entries(); }

 private:
  static void check(SessionWindow window) {
    if (window.start <= window.end) return;
    throw StatusError(Status::invalid_argument(
        "a session cannot end (" + std::to_string(to_millis(window.end)) + ") before it starts (" +
        std::to_string(to_millis(window.start)) + "); pass its start first"));
  }
  void encode(const K& key) const {
    key_.clear();
    Serde<K>::encode(key, key_);
  }
  std::string_view place(const K& key, SessionWindow window) const {
    encode(key);
    cache_->layout().compose(key_, to_millis(window.end), to_millis(window.start), engine_key_);
    return engine_key_;
  }
  StateEntry* find(const K& key, SessionWindow window) const {
    if (!cache_->layout().is_live(to_millis(window.end), cache_->observed_time())) return nullptr;
    StateEntry& entry = cache_->load(place(key, window));
    return entry.present() ? &entry : nullptr;
  }

  StateCache* cache_;
  std::function<Timestamp()> now_;
  mutable std::string key_;
  mutable std::string engine_key_;
};

}  // namespace millrace
