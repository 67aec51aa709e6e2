// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace millrace {

/// One partition of a topic.
struct TopicPartition {
  std::string topic;
  std::int32_t partition = 0;

  auto operator<=>(const TopicPartition&) const = default;
};

/// "orders-3", as logs and metrics spell it.
[[nodiscard]] inline std::string to_string(const TopicPartition& where) {
  return where.topic + '-' + std::to_string(where.partition);
}

}  // namespace millrace

template <>
struct std::hash<millrace::TopicPartition> {
  std::size_t operator()(const millrace::TopicPartition& where) const noexcept {
    // The multiplier spreads neighbouring partition numbers over the whole word.
    return std::hash<std::string>{}(where.topic) ^
           (static_cast<std::size_t>(where.partition) * 0x9E3779B97F4A7C15ULL);
  }
};
