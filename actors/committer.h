// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
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
  /// Exactly-once: where the transaction of all tasks stands.
  enum class Round : std::uint8_t {
    kNone,       // Tasks write into it.
    kPreparing,  // They are asked for their changes, and write nothing more into it.
    kSending,    // Membership adds the offsets.
    kEnding,     // The transaction coordinator is asked to commit.
  };
  struct Member {
    CommitMember info;
    Phase phase = Phase::kIdle;
    bool again = false;    // A commit is wanted as soon as the present one is done.
    bool writes = false;   // It was asked for changes: something of it may be on its way.
    bool flushed = false;  // All of it is committed, and it is to be closed.
    std::optional<std::map<std::string, std::int64_t>> began_at;  // Its inputs' first offsets.
    bool progressed = false;                                      // It has committed others since.
    std::shared_ptr<const PreparedCommit> prepared;
    std::chrono::nanoseconds began{};
  };
  struct Flush {
    std::set<TaskRef> waiting;  // Tasks that still have something to commit.
    caf::typed_response_promise<bool> promise;
  };
  using Points = std::vector<std::pair<TaskRef, CommitPoint>>;

  static constexpr const char* name = "millrace.committer";
  std::shared_ptr<AppContext> app;
  SupervisorHandle supervisor;
  MembershipHandle membership;
  std::map<TaskId, Member> members;
  std::vector<Flush> flushes;
  std::chrono::nanoseconds next_round{};
  bool stopped = false;

  // Exactly-once.
  Round round = Round::kNone;
  bool round_wanted = false;
  Points points;  // Of the round.
  std::chrono::nanoseconds round_began{};
  bool sending = false;  // Membership may be using the producer.

  // The producer cannot go on, or must not: nothing is written until it is renewed, and that waits
  // until the tasks that write are closed.
  bool broken = false;
  bool writers_closed = false;
  bool renewed = false;  // But not open yet.
  int dead_producers = 0;
  std::chrono::nanoseconds renew_at{};
  std::vector<caf::typed_response_promise<bool>> voiding;

  metrics::Counter* commits = nullptr;
  metrics::Counter* failures = nullptr;
  metrics::Counter* renewals = nullptr;
  metrics::Histogram* duration = nullptr;
};

/// Drives the commits of all tasks: prepare, acknowledged, offsets, kept; and serves the producer's
/// delivery reports.
///
/// Detached. At-least-once: each task commits on its own, one commit in flight per task; those that
/// are ready at the same moment share one request. Exactly-once: all tasks commit together, one
/// transaction after the other; when it cannot be committed, or its outcome is not known, all of
/// them begin again from their commit points, which tell.
class Committer final : public CommitterHandle::stateful_base<CommitterState> {
 public:
  using Base = CommitterHandle::stateful_base<CommitterState>;
  Committer(caf::actor_config& config, std::shared_ptr<AppContext> app, SupervisorHandle supervisor,
            MembershipHandle membership);
  CommitterHandle::behavior_type make_behavior() override;

 private:
  using Member = CommitterState::Member;
  using Points = CommitterState::Points;

  void on_poll();
  void prepare(Member& member);
  void on_prepared(TaskRef task, const Prepared& prepared);
  void on_results(const Points& points, const std::vector<Status>& results);
  void kept(Member& member, const CommitPoint* point);

  void commit_each();
  void commit_together();
  void begin_round();
  void send_offsets();
  void commit_transaction();
  void end_round();

  void leave(TaskRef task);
  void finished(TaskRef task);
  void drop(TaskRef task);
  void failed(TaskRef task, const Status& status);
  /// `culprit`: the task that is the cause; nullopt: any may be.
  void break_off(const Status& why, std::optional<TaskRef> culprit = std::nullopt);
  void renew();
  Member* find(TaskRef task);
};

}  // namespace millrace
