// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace millrace {

/// What a task is working on. Told by the task's thread, looked at by any: a thread that hangs in
/// user code cannot say so itself.
class RecordInHand {
 public:
  /// Where a task hands on what has changed in its tables, which no single record has caused.
  static constexpr std::int64_t kTables = -1;

  struct Work {
    std::uint64_t number = 0;  ///< Of what was taken: the same record again is another work.
    std::size_t input = 0;
    std::int64_t offset = 0;  ///< Or kTables.

    bool operator==(const Work&) const = default;
  };

  void take(std::size_t input, std::int64_t offset) {
    number_.store(number_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    input_.store(input, std::memory_order_relaxed);
    offset_.store(offset, std::memory_order_relaxed);
  }
  void put_down() { offset_.store(kNone, std::memory_order_relaxed); }

  /// Of a task that moves on meanwhile it may be the input of one record with the offset of the
  /// next: only what two looks agree on is so.
  [[nodiscard]] std::optional<Work> look() const {
    const std::int64_t offset = offset_.load(std::memory_order_relaxed);
    if (offset == kNone) return std::nullopt;
    return Work{number_.load(std::memory_order_relaxed), input_.load(std::memory_order_relaxed),
                offset};
  }

 private:
  static constexpr std::int64_t kNone = -2;
  std::atomic<std::uint64_t> number_{0};
  std::atomic<std::size_t> input_{0};
  std::atomic<std::int64_t> offset_{kNone};
};

}  // namespace millrace
