// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "actors/app_context.h"
#include "actors/messages.h"
#include "runtime/kafka/group_member.h"
#include "runtime/kafka/unassigned_check.h"
#include "runtime/log_limit.h"

namespace millrace {

/// What Membership holds; destroyed when the actor quits.
struct MembershipState {
  struct PendingCommit {
    CommitRequests requests;
    std::vector<std::optional<Status>>
        results;  // Per request; empty while the outcome is not definite.
    caf::typed_response_promise<CommitResults> promise;
  };
  struct PendingRead {
    Partitions inputs;
    caf::typed_response_promise<OffsetsAnswer> promise;
  };

  static constexpr const char* name = "millrace.membership";
  std::shared_ptr<AppContext> app;
  SupervisorHandle supervisor;
  std::unique_ptr<GroupMember> member;
  std::map<TopicPartition, std::uint64_t> owned;  // Driver partitions and the epoch they came with.
  std::uint64_t epoch = 0;
  std::optional<AssignmentChange> revocation;  // Waiting for its tasks to close.
  // The membership is over, and another one begins when the tasks of what it had are closed: of
  // `revocation`, then of these.
  bool renewing = false;
  std::vector<TopicPartition> given_up;
  int renewals_left = 0;                      // Until there is an assignment again.
  std::optional<UnassignedCheck> unassigned;  // Of static members.
  std::vector<PendingCommit> commits;
  std::vector<PendingRead> reads;
  std::chrono::nanoseconds retry_at{};
  LogLimit retries;
  std::optional<std::chrono::nanoseconds> joining_since;
  bool told_of_join = false;
  bool stopped = false;
};

/// Owns the consumer M: the group's events, and the only way by which offsets are committed.
///
/// Detached. A commit names the ownership epoch of its partition and is sent only while that epoch
/// lives, in the same step in which it is checked; the broker itself fences members and
/// generations, not owners.
class Membership final : public MembershipHandle::stateful_base<MembershipState> {
 public:
  using Base = MembershipHandle::stateful_base<MembershipState>;
  Membership(caf::actor_config& config, std::shared_ptr<AppContext> app,
             SupervisorHandle supervisor, std::unique_ptr<GroupMember> member);
  MembershipHandle::behavior_type make_behavior() override;

 private:
  void on_poll();
  void on_event(GroupEvent event);
  void give_up(const Status& why);
  void renew();
  void end(const Status& why);
  void void_commits(const std::vector<TopicPartition>& partitions);
  void void_torn();
  void send_commits();
  void serve_reads();
  Status read(std::span<MembershipState::PendingRead> reads);
  void try_again(const Status& why);
  void tell_of_long_join();
  [[nodiscard]] bool is_replaced() const;
  [[nodiscard]] bool alive(const CommitRequest& request) const;
};

}  // namespace millrace
