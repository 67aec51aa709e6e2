// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

namespace millrace {

/// Lets a few log lines of a kind through in each span of time and counts the rest.
class LogLimit {
 public:
  static constexpr std::uint64_t kLinesMax = 10;
  static constexpr std::chrono::seconds kSpan{10};

  /// Whether a line may be written `now`.
  bool admit(std::chrono::nanoseconds now) {
    if (over(now)) {
      began_ = now;
      lines_ = 0;
    }
    if (lines_ < kLinesMax) {
      ++lines_;
      return true;
    }
    ++left_out_;
    return false;
  }

  /// How many lines were left out in a span that is over, told once.
  std::uint64_t left_out(std::chrono::nanoseconds now) {
    return over(now) ? std::exchange(left_out_, 0) : 0;
  }

 private:
  [[nodiscard]] bool over(std::chrono::nanoseconds now) const { return now - began_ >= kSpan; }

  std::chrono::nanoseconds began_{};
  std::uint64_t lines_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace millrace
