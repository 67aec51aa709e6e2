// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

namespace millrace {

/// A point in time with the resolution of Kafka's record timestamps: milliseconds since the epoch.
using Timestamp = std::chrono::sys_time<std::chrono::milliseconds>;

/// Milliseconds since the epoch, as they stand in records.
[[nodiscard]] constexpr std::int64_t to_millis(Timestamp time) {
  return time.time_since_epoch().count();
}

/// The inverse of `to_millis`.
[[nodiscard]] constexpr Timestamp from_millis(std::int64_t millis) {
  return Timestamp{std::chrono::milliseconds{millis}};
}

/// Where components read the wall clock and measure durations. Thread-safe.
///
/// Components never ask the system for the time themselves: tests and the simulator pass a
/// `ManualClock`, an App passes `system_clock()`.
class Clock {
 public:
  virtual ~Clock() = default;

  /// Wall-clock time. May jump in both directions.
  [[nodiscard]] virtual Timestamp now() const = 0;

  /// Time since an arbitrary start. Never goes back.
  [[nodiscard]] virtual std::chrono::nanoseconds elapsed() const = 0;
};

/// The clock of the machine. Lives for ever.
[[nodiscard]] const Clock& system_clock();

/// A clock that moves only when told to. Not thread-safe: moved and read by one thread.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Timestamp start = from_millis(0)) : now_(start) {}

  [[nodiscard]] Timestamp now() const override { return now_; }
  [[nodiscard]] std::chrono::nanoseconds elapsed() const override { return elapsed_; }

  /// Moves wall clock and elapsed time forward by `duration` (not negative).
  void advance(std::chrono::milliseconds duration) {
    now_ += duration;
    elapsed_ += duration;
  }

 private:
  Timestamp now_;
  std::chrono::nanoseconds elapsed_{0};
};

}  // namespace millrace
