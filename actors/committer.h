// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "actors/app_context.h"
#include "actors/messages.h"

namespace millrace {

/// What the Committer holds; destroyed when the actor quits.
struct CommitterState {
  enum class Phase : std::uint8_t {
    kIdle,
    kPreparing,   // The task is asked for its changes.
    kProduced,    // They are on their way to the brokers.
    kCommitting,  // Their offsets are.
  };
  struct Member {
    CommitMember info;
    Phase phase = Phase::kIdle;
    bool again = false;  // A commit is wanted as soon as the present one is done.
    std::shared_ptr<const PreparedCommit> prepared;
    std::chrono::nanoseconds began{};
  };
  struct Flush {
    std::set<TaskRef> waiting;  // Tasks that still have something to commit.
    caf::typed_response_promise<bool> promise;
  };

  static constexpr const char* name = "millrace.committer";
  std::shared_ptr<AppContext> app;
  SupervisorHandle supervisor;
  MembershipHandle membership;
  std::map<TaskId, Member> members;
  std::vector<Flush> flushes;
  std::chrono::nanoseconds next_round{};
  bool producer_failed = false;
  bool stopped = false;
  metrics::Counter* commits = nullptr;
  metrics::Counter* failures = nullptr;
  metrics::Histogram* duration = nullptr;
};

/// Drives the commits of all tasks: prepare, acknowledged, offsets, kept; and serves the producer's
/// delivery reports.
///
/// Detached. At-least-once: each task commits on its own, one commit in flight per task; those that
/// are ready at the same moment share one request.
class Committer final : public CommitterHandle::stateful_base<CommitterState> {
 public:
  using Base = CommitterHandle::stateful_base<CommitterState>;
  Committer(caf::actor_config& config, std::shared_ptr<AppContext> app, SupervisorHandle supervisor,
            MembershipHandle membership);
  CommitterHandle::behavior_type make_behavior() override;

 private:
  void on_poll();
  void prepare(CommitterState::Member& member);
  void on_prepared(TaskRef task, const Prepared& prepared);
  void commit_answered();
  void on_results(const std::vector<std::pair<TaskRef, CommitPoint>>& tasks,
                  const std::vector<Status>& results);
  void finished(TaskRef task);
  void drop(TaskRef task);
  void failed(TaskRef task, const Status& status);
  CommitterState::Member* find(TaskRef task);
};

}  // namespace millrace
