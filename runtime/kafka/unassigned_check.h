// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "millrace/config.h"
#include "runtime/kafka/client_config.h"
#include "runtime/kafka/group_member.h"

namespace millrace {

/// Finds partitions that no member of the group has been assigned, and makes the group assign them.
///
/// A static member that ends when it has been told to hand partitions over, and starts again before
/// it is missed, gets back what it was to keep, without a rebalance (KIP-345): what it was to hand
/// over is nobody's then, until some member happens to join. This looks after such a member's
/// start. What has had no member for as long as a session may last is not on its way any more:
/// this then joins the group for a moment, without a static id, and all others join again.
///
/// Used by one thread. Times are of a monotonic clock.
class UnassignedCheck {
 public:
  /// `topics` have so many `partitions` together.
  UnassignedCheck(const Config& config, KafkaLog log, std::vector<std::string> topics,
                  std::size_t partitions);

  /// A static member has got its first assignment.
  void begin(std::chrono::nanoseconds now);

  /// What is due. Blocks for a broker's answer, 2 s at most.
  void poll(std::chrono::nanoseconds now);

 private:
  void look(std::chrono::nanoseconds now);
  void join();
  void poll_visitor(std::chrono::nanoseconds now);

  const Config config_;  // Without a static id.
  const KafkaLog log_;
  const std::vector<std::string> topics_;
  const std::size_t partitions_;
  const std::chrono::nanoseconds interval_;
  const std::chrono::nanoseconds session_;
  std::mt19937_64 random_{std::random_device{}()};
  std::optional<std::chrono::nanoseconds> due_;    // Of the next look; none: all is well.
  std::optional<std::chrono::nanoseconds> since_;  // Looks in a row have found something.
  int joins_left_ = 0;
  std::unique_ptr<GroupMember> visitor_;
};

}  // namespace millrace
