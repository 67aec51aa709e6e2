// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "actors/app_context.h"
#include "actors/messages.h"
#include "runtime/kafka/group_member.h"
#include "stores/state_cleaner.h"

namespace millrace {

/// What the Supervisor holds; destroyed when the actor quits.
struct SupervisorState {
  /// Where an attempt at a task stands. The states that users see are on the StatusBoard.
  enum class Phase : std::uint8_t {
    kCreated,    // Membership reads its commit point.
    kRestoring,  // The restorer has it.
    kFailed,     // It could not be restored: no actor, and nobody owes an answer.
    kActive,     // The task actor lives.
    kWaiting,    // It failed; the next attempt is due later.
    kClosing,    // It is not wanted; its engines are being closed.
    kParked,     // It has failed too often: nothing is done until it is assigned anew.
  };
  struct Entry {
    TaskRef ref;
    Phase phase = Phase::kCreated;
    TopicPartition driver;
    std::uint64_t epoch = 0;
    std::shared_ptr<RestoreOrder> order;  // While it is restored.
    std::optional<TaskHandle> handle;
    bool running = false;
    bool warm = false;         // It has run here.
    std::size_t failures = 0;  // In a row, without progress.
    std::chrono::nanoseconds running_since{};
    std::optional<std::uint64_t> next_epoch;  // Assigned again while closing.
    std::string damage;    // Why its engines are to be rebuilt by the next attempt.
    bool restart = false;  // Closing because it failed: another attempt follows, ...
    bool park = false;     // ... or none does.
  };

  static constexpr const char* name = "millrace.supervisor";
  std::shared_ptr<AppContext> app;
  std::unique_ptr<GroupMember> member;  // Until Membership takes it.
  MembershipHandle membership;
  CommitterHandle committer;
  struct RestorerEntry {
    RestorerHandle actor;
    std::size_t tasks = 0;  // Asked for and not answered, ...
    std::size_t cold = 0;   // ... and those among them that may take long.
  };
  std::vector<RestorerEntry> restorers;
  RestorerEntry spare_restorer;  // For what is short; made when all others have cold tasks.
  std::map<TaskId, Entry> tasks;
  std::uint64_t attempts = 0;
  std::set<TaskId> revoking;  // Tasks whose closing the group waits for.
  bool answer_due = false;
  bool voiding = false;      // The answer waits until nothing of the lost tasks is on its way.
  bool renewal_due = false;  // The producer is broken; it is renewed when these are closed:
  std::set<TaskRef> writers;
  bool rebalancing = true;
  bool settling = false;      // Nothing was assigned yet; more may come.
  std::size_t checking = 0;   // Answers that a look at the changelogs waits for.
  bool counting = false;      // Partitions of inputs are being counted.
  bool leaving = false;       // Asked to stop; changelogs are looked at once more.
  bool last_look = false;     // That look has begun.
  std::set<TaskId> unhealed;  // Tasks that this has found something for, until they run again.
  bool stopping = false;
  bool finishing = false;  // All tasks are closed; the other actors are being stopped.
  metrics::Counter* rebalances = nullptr;
  std::mt19937_64 random{std::random_device{}()};
  std::optional<StateCleaner> cleaner;
  // Tasks that did not close in time: their files may be in use for ever.
  std::set<TaskId> unclosed;
  Status error;  // Why the app stops, if not because it was asked to.
};

/// The life of the app and of its tasks: creates, restarts and closes them, and answers the group
/// when they are closed.
///
/// Detached, so that user functions that hang do not hold it up; never blocks.
class Supervisor final : public SupervisorHandle::stateful_base<SupervisorState> {
 public:
  using Base = SupervisorHandle::stateful_base<SupervisorState>;
  using Entry = SupervisorState::Entry;
  using RestorerEntry = SupervisorState::RestorerEntry;
  Supervisor(caf::actor_config& config, std::shared_ptr<AppContext> app,
             std::unique_ptr<GroupMember> member);
  SupervisorHandle::behavior_type make_behavior() override;

 private:
  void on_start();
  void on_assigned(const AssignmentChange& change);
  [[nodiscard]] Status added(const std::vector<TopicPartition>& partitions) const;
  void on_settled();
  void on_tick();
  void on_revoked(const AssignmentChange& change);
  void on_failed(const TaskFailure& failure);
  void on_down(const caf::down_msg& down);
  void on_stop(const Status& why);

  [[nodiscard]] std::chrono::milliseconds check_interval() const;
  void check_all();
  void count_partitions();
  void tell(TaskRef ref, LogEnds ends);
  void checked();
  void on_leave();
  void look_last();
  void leave_if_checked();

  [[nodiscard]] TaskPlan plan(TaskId id) const;
  [[nodiscard]] bool keeps_all(const TaskPlan& plan) const;
  RestorerHandle spawn_restorer();
  RestorerEntry& idlest_restorer();
  RestorerEntry& quick_restorer();
  void begin(Entry& entry);
  void restore(TaskRef ref, const TaskPlan& plan, const OffsetsAnswer& offsets);
  void on_restored(TaskRef ref, const RestoreAnswer& answer);
  void on_running(TaskRef ref);
  /// What a task leaves behind.
  enum class Closing : std::uint8_t {
    kDrop,   // What its engines hold.
    kKeep,   // What is committed.
    kFlush,  // All it has processed: commits it, then as kKeep.
  };
  void close(const std::vector<TaskId>& ids, Closing how);
  void close_actors(const std::vector<TaskRef>& tasks, bool checkpoint);
  void closed(TaskRef ref);

  void on_broken(const std::vector<TaskFailure>& writers);
  void renew_if_closed();
  void answer_if_closed();
  void finish_if_closed();
  void show_state();
  [[nodiscard]] std::vector<TaskId> tasks_of(const std::vector<TopicPartition>& partitions) const;
  [[nodiscard]] metrics::Counter& failures_of(TaskId id) const;
  Entry* find(TaskRef ref);
};

}  // namespace millrace
