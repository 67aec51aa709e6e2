// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "actors/app_context.h"
#include "actors/messages.h"

namespace millrace {

/// What a TaskActor holds; destroyed when the actor quits, which closes the engines.
struct TaskActorState {
  static constexpr const char* name = "millrace.task";
  std::shared_ptr<AppContext> app;
  SupervisorHandle supervisor;
  CommitterHandle committer;
  TaskRef ref;
  RestoredTaskPtr restored;
  std::unique_ptr<Task> task;
  std::vector<std::unique_ptr<InputPartition>> inputs;  // Open while the task runs.
  std::shared_ptr<std::atomic<bool>> woken = std::make_shared<std::atomic<bool>>(false);
  bool started = false;   // The first commit is durable.
  bool draining = false;  // Takes no more records.
  bool failed = false;
  // It has failed with the transaction of all tasks; whose fault that is tells the committer.
  std::shared_ptr<const PreparedCommit> refused;
  bool progressed = false;  // A commit has moved the source offsets.
  std::optional<std::chrono::nanoseconds>
      lag_since;  // Since when nothing was processed although there is lag.
  int ticks = 0;
  std::optional<QueryQueue> queries;
};

/// A thin shell around a Task: pulls from its input partitions, processes, prepares commits,
/// answers queries.
///
/// Scheduled. Back-pressure is not pulling.
class TaskActor final : public TaskHandle::stateful_base<TaskActorState> {
 public:
  using Base = TaskHandle::stateful_base<TaskActorState>;
  TaskActor(caf::actor_config& config, std::shared_ptr<AppContext> app, SupervisorHandle supervisor,
            CommitterHandle committer, TaskRef ref, RestoredTaskPtr restored);
  TaskHandle::behavior_type make_behavior() override;

 private:
  Status create_task();
  Status open_inputs();
  void on_wake();
  void on_query(const QueryPtr& query);
  void serve_queries();
  void on_tick();
  Result<std::shared_ptr<const PreparedCommit>> prepare();
  Prepared on_prepare();
  void on_committed(const CommitPoint* point);
  bool on_check(const LogEnds& ends, bool last);
  void on_close(bool checkpoint);
  Result<bool> pull(std::chrono::nanoseconds until);
  void note_progress(bool progressed);
  void publish();
  /// Where it failed: only what an engine finds corrupt in itself can be rebuilt.
  enum class Part : std::uint8_t { kEngine, kLog };
  void fail(const Status& status, Part part = Part::kEngine);
};

}  // namespace millrace
