// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace millrace {

/// How far a pass over a store has come, and whether another is worth while: all it takes to remove
/// old keys and versions in small steps, without an index beside the store. Each entry has a time
/// from which on it, or what it replaces, may go: a key the timestamp of its last write; a version
/// its own, when the versions before it may go.
///
/// A pass looks at the engine in key order, then at the cache. Whatever comes to be in the store
/// while it goes on is noted when it is written, when it moves from the cache to the engine, and
/// when it changes its place in the cache; the rest is seen. So at its end the earliest timestamp
/// in the store is known (or a time before it), and no pass begins before that one can have
/// expired.
class ExpiryPass {
 public:
  enum class Place : std::uint8_t { kNone, kEngine, kCache };

  /// Whether there is something to look at. `live_from`: the earliest timestamp that has not
  /// expired.
  [[nodiscard]] bool due(std::int64_t live_from) const {
    return place != Place::kNone || earliest_ < live_from;
  }
  /// An entry of this timestamp is in the store.
  void note(std::int64_t timestamp) {
    earliest_ = std::min(earliest_, timestamp);
    earliest_seen_ = std::min(earliest_seen_, timestamp);
  }
  /// A pass has seen an entry that goes on living.
  void seen(std::int64_t timestamp) { earliest_seen_ = std::min(earliest_seen_, timestamp); }

  void begin() {
    place = Place::kEngine;
    cursor.clear();
    ring_at = 0;
    version.reset();
    earliest_seen_ = kNever;
  }
  void end() {
    place = Place::kNone;
    earliest_ = earliest_seen_;
  }
  /// Nothing is known any more: the next pass sees all.
  void forget() {
    place = Place::kNone;
    earliest_ = std::numeric_limits<std::int64_t>::min();
  }

  Place place = Place::kNone;
  std::string cursor;       ///< In the engine: the first key not looked at.
  std::size_t ring_at = 0;  ///< In the cache: the first entry not looked at.

  struct Version {
    std::string key;
    std::int64_t time;
  };
  std::optional<Version> version;  ///< The last one looked at, of a versioned store.

 private:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  std::int64_t earliest_ = std::numeric_limits<std::int64_t>::min();
  std::int64_t earliest_seen_ = kNever;
};

}  // namespace millrace
