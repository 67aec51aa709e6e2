// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "millrace/time.h"

namespace millrace {

/// What a store is a map of.
enum class StoreKind : std::uint8_t {
  kKeyValue,   ///< Key -> value.
  kWindow,     ///< Key and window start -> value; old windows expire.
  kSession,    ///< Key, start and end of a session -> value; old sessions expire.
  kVersioned,  ///< Key and time -> the value from then on; old versions expire, the latest never
               ///< does.
};

/// What a time to live is measured by.
enum class TtlClock : std::uint8_t {
  kEventTime,  ///< Record timestamps and the task's stream time: the same in every run.
  kWallClock,  ///< The machine's clock: keys go while nothing arrives, too.
};

/// The lower-case name, such as "key-value".
[[nodiscard]] std::string_view to_string(StoreKind kind);

/// How a store arranges its keys in cache and engine (engine keys), and what stands in its
/// changelog (log keys).
///
///     kind       log key (Kafka Streams')                   engine key
///     key-value  key                                        key
///     window     key || i64 start || u32 sequence           segment of the start || log key
///     session    key || i64 end || i64 start                segment of the end || log key
///     versioned  key, at the version's record timestamp     u32 length || key || the timestamp,
///                                                           later ones first
///
/// Integers are big-endian. A segment is an i64 with its sign bit flipped, so that negative ones
/// sort first: the time divided by the length of a segment, rounded down. Segments make expiry one
/// erasure of all keys below a bound. No segment holds both negative and other times, so within one
/// the log keys of a key are in the order of their times.
///
/// The length of the key keeps its versions together: no other key's stand between, whatever bytes
/// that one begins with.
///
/// A store that expires observes time: the latest time (start, end, version) ever put, whether or
/// not it is still there. Reads and expiry count back from it. The engine keeps it under
/// `kTimeKey`, which is shorter than all engine keys; a restore finds it there and in what the
/// changelog leaves in the store.
///
/// A value type without virtual functions: for key-value stores all of it comes down to nothing.
class KeyLayout {
 public:
  /// No time observed yet. Not a time: what is put there counts as expired.
  static constexpr std::int64_t kNoTime = std::numeric_limits<std::int64_t>::min();
  /// Where an engine keeps the observed time (8 bytes) and the segment length it goes with (8
  /// bytes).
  static constexpr std::string_view kTimeKey{};

  /// Of a key-value store.
  KeyLayout() = default;
  /// Of a key-value store whose keys are gone `ttl` (positive) after their last write.
  static KeyLayout with_ttl(std::chrono::milliseconds ttl, TtlClock clock);
  /// Lengths are positive. `retention` counts back from the observed time: what is `retention` old
  /// is gone.
  static KeyLayout window(std::chrono::milliseconds size, std::chrono::milliseconds retention,
                          bool duplicates);
  static KeyLayout session(std::chrono::milliseconds retention);
  /// What is older than `retention` is gone; 0 keeps the latest versions only.
  static KeyLayout versioned(std::chrono::milliseconds retention);

  [[nodiscard]] StoreKind kind() const { return kind_; }
  [[nodiscard]] std::chrono::milliseconds window_size() const { return window_size_; }
  /// Of a key-value store: its time to live, or 0.
  [[nodiscard]] std::chrono::milliseconds retention() const { return retention_; }
  /// Of window stores: a second value for a key and start is kept beside the first.
  [[nodiscard]] bool duplicates() const { return duplicates_; }

  /// Whether the store observes time. Not so: key-value.
  [[nodiscard]] bool observes_time() const { return kind_ != StoreKind::kKeyValue; }
  /// Whether entries expire by segments. They have a time in their log keys.
  [[nodiscard]] bool expires() const {
    return kind_ == StoreKind::kWindow || kind_ == StoreKind::kSession;
  }

  /// Whether each entry expires by itself, by the timestamp it has.
  [[nodiscard]] bool has_ttl() const {
    return kind_ == StoreKind::kKeyValue && retention_.count() > 0;
  }
  /// Precondition: `has_ttl()`.
  [[nodiscard]] TtlClock ttl_clock() const { return ttl_clock_; }

  // --- From and to the changelog ---

  /// The log key within an engine key.
  [[nodiscard]] std::string_view log_key(std::string_view engine_key) const {
    return engine_key.substr(head_bytes_, engine_key.size() - head_bytes_ - tail_bytes_);
  }

  /// The value of a changelog record within an engine value, which begins with its timestamp of 8
  /// bytes.
  [[nodiscard]] std::optional<std::string_view> log_value(std::string_view engine_value) const {
    if (kind_ != StoreKind::kVersioned) return engine_value.substr(kTimestampBytes);
    if (engine_value[kTimestampBytes] == kDeletedVersion) return std::nullopt;
    return engine_value.substr(kTimestampBytes + 1);
  }

  /// Sets `out` to the engine key of a changelog record. False if the bytes cannot be a key of this
  /// store.
  bool engine_key(std::string_view log_key, Timestamp record_time, std::string& out) const;

  /// Sets `out` to the engine value of a changelog record. False: the record deletes the entry.
  bool engine_value(std::optional<std::string_view> log_value, Timestamp record_time,
                    std::string& out) const;

  // --- Keys with a time ---

  /// Bytes behind the time in a log key: the sequence of windows, the start of sessions.
  [[nodiscard]] std::size_t detail_bytes() const { return detail_bytes_; }

  /// Sets `out` to the engine key of a window (`time`: start, `detail`: sequence), a session (end,
  /// start) or a version (its time; no detail).
  void compose(std::string_view key, std::int64_t time, std::int64_t detail,
               std::string& out) const;

  /// What `compose` was given. Precondition of these: `observes_time()`, and an engine key of this
  /// layout.
  [[nodiscard]] std::string_view key_of(std::string_view engine_key) const;
  [[nodiscard]] std::int64_t time_of(std::string_view engine_key) const;
  [[nodiscard]] std::int64_t detail_of(std::string_view engine_key) const;

  /// The number of the segment that `time` is in. Precondition: `expires()`.
  [[nodiscard]] std::int64_t segment_of(std::int64_t time) const;
  /// The first bytes of all engine keys in a segment.
  [[nodiscard]] static std::string segment_prefix(std::int64_t segment);

  // --- Expiry ---

  /// The earliest time that is not gone when `observed` is the latest. Windows, sessions and keys
  /// with a time to live: observed - retention + 1; versions: observed - retention (the earliest
  /// that can be asked for).
  [[nodiscard]] std::int64_t live_from(std::int64_t observed) const;
  [[nodiscard]] bool is_live(std::int64_t time, std::int64_t observed) const {
    return time >= live_from(observed);
  }

  /// Whether entries go one by one, found by a pass over the store: keys by their time to live,
  /// versions when no time in the history can be answered by them any more.
  [[nodiscard]] bool needs_passes() const { return has_ttl() || kind_ == StoreKind::kVersioned; }

  /// All engine keys below it have expired. Precondition: `expires()`.
  [[nodiscard]] std::string expired_below(std::int64_t observed) const {
    return segment_prefix(segment_of(live_from(observed)));
  }

  /// What stands under kTimeKey.
  [[nodiscard]] std::string time_record(std::int64_t observed) const;
  /// The observed time; nullopt for other bytes, where the retention was another one, and for
  /// engines whose versions have no length before them.
  [[nodiscard]] std::optional<std::int64_t> observed_time(std::string_view record) const;

  static constexpr std::size_t kTimestampBytes = sizeof(std::int64_t);
  /// The first byte of a version's value.
  static constexpr char kDeletedVersion = 0;
  static constexpr char kPresentVersion = 1;

 private:
  [[nodiscard]] std::int64_t beside_observed_time() const;

  StoreKind kind_ = StoreKind::kKeyValue;
  TtlClock ttl_clock_ = TtlClock::kEventTime;
  bool duplicates_ = false;
  std::uint8_t head_bytes_ = 0;    // Of the engine key, before the log key.
  std::uint8_t tail_bytes_ = 0;    // Of the engine key, behind the log key.
  std::uint8_t detail_bytes_ = 0;  // Of the log key, behind the time.
  std::chrono::milliseconds window_size_{};
  std::chrono::milliseconds retention_{};
  std::int64_t segment_millis_ = 0;
};

}  // namespace millrace
