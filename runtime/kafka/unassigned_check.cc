// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/unassigned_check.h"

#include <algorithm>

#include "runtime/kafka/admin.h"

namespace millrace {
namespace {

constexpr int kSyslogWarning = 4;

constexpr std::chrono::milliseconds kAnswerTimeout{1'000};
constexpr int kJoinsMax = 3;

std::chrono::milliseconds time_property(const Config& config, const std::string& name) {
  return std::chrono::milliseconds{number_property(config, ClientRole::kMembership, name)};
}

Config without_static_id(Config config) {
  config.group_instance_id.clear();
  return config;
}

}  // namespace

UnassignedCheck::UnassignedCheck(const Config& config, KafkaLog log,
                                 std::vector<std::string> topics, std::size_t partitions)
    : config_(without_static_id(config)),
      log_(std::move(log)),
      topics_(std::move(topics)),
      partitions_(partitions),
      // Members hear of a rebalance with a heartbeat.
      interval_(2 * time_property(config, "heartbeat.interval.ms")),
      session_(time_property(config, "session.timeout.ms")) {}

// Members that have started together do not look together: one that joins is enough.
void UnassignedCheck::begin(std::chrono::nanoseconds now) {
  using Part = std::uniform_int_distribution<std::chrono::nanoseconds::rep>;
  due_ = now + interval_ + std::chrono::nanoseconds{Part{0, interval_.count()}(random_)};
  since_.reset();
  joins_left_ = kJoinsMax;
}

void UnassignedCheck::poll(std::chrono::nanoseconds now) {
  if (visitor_) {
    poll_visitor(now);
  } else if (due_ && now >= *due_) {
    look(now);
  }
}

void UnassignedCheck::look(std::chrono::nanoseconds now) {
  due_.reset();
  auto admin = create_admin(config_, log_);
  if (!admin) return log_(kSyslogWarning, "GROUP", admin.error().message());
  const auto group = group_id(config_, ClientRole::kMembership);
  const auto assigned = (*admin)->group_assignment(group, kAnswerTimeout);
  if (!assigned) {
    if (assigned.error().code() == Code::kUnavailable) {
      due_ = now + interval_;
    } else {
      log_(kSyslogWarning, "GROUP",
           assigned.error().message() + "; partitions that no member has are not looked for");
    }
    return;
  }
  if (!*assigned) return;  // A rebalance assigns all that is nobody's.
  const auto count = static_cast<std::size_t>(
      std::ranges::count_if(**assigned, [&](const TopicPartition& partition) {
        return std::ranges::find(topics_, partition.topic) != topics_.end();
      }));
  if (count >= partitions_) return;
  if (!since_) since_ = now;
  if (now - *since_ < session_) {
    due_ = now + interval_;
    return;
  }
  log_(kSyslogWarning, "GROUP",
       std::to_string(partitions_ - count) + " partitions have had no member in group " + group +
           " for a session's length: a member ended while it handed them over; " +
           (joins_left_ > 0 ? "making the group assign them" : "they wait for the next rebalance"));
  if (joins_left_ > 0) join();
}

void UnassignedCheck::join() {
  --joins_left_;
  auto visitor = GroupMember::create(config_, log_, topics_);
  if (!visitor) return log_(kSyslogWarning, "GROUP", visitor.error().message());
  visitor_ = *std::move(visitor);
}

// What it is assigned goes to the others when it leaves. While it joins it stays: who leaves then
// is given a share all the same.
void UnassignedCheck::poll_visitor(std::chrono::nanoseconds now) {
  bool over = false;
  switch (visitor_->poll(std::chrono::milliseconds{0}).kind) {
    case GroupEvent::Kind::kNone:
      break;
    case GroupEvent::Kind::kAssigned:
      static_cast<void>(visitor_->answer_assigned());
      over = true;
      break;
    case GroupEvent::Kind::kRevoked:
    case GroupEvent::Kind::kLost:
      static_cast<void>(visitor_->answer_revoked());
      break;
    case GroupEvent::Kind::kFatal:
      over = true;
      break;
  }
  if (!over) return;
  visitor_->close();
  visitor_.reset();
  since_.reset();
  due_ = now + interval_;
}

}  // namespace millrace
