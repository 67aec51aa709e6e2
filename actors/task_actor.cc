// SPDX-License-Identifier: Apache-2.0
#include "actors/task_actor.h"

#include <algorithm>
#include <caf/send.hpp>
#include <caf/typed_response_promise.hpp>

#include "actors/handlers.h"
#include "runtime/kafka/client_config.h"

namespace millrace {
namespace {

// A lost wake-up costs this at most; also the pace of figures.
constexpr std::chrono::milliseconds kTick{100};
constexpr int kTicksPerPublish = 10;
// Batches in one go, and how long, before the actor lets others have the thread: a commit must not
// wait for a batch of slow functions, and under exactly-once that of all tasks would.
constexpr int kBatchesPerWake = 4;
constexpr std::chrono::milliseconds kTurnMax{50};
constexpr std::size_t kRecordsPerLook = 16;  // Between two looks at the clock.
// Of outputs that wait for the next transaction: a task with more takes no records.
constexpr std::size_t kHeldBackBytesMax = std::size_t{16} << 20;

}  // namespace

TaskActor::TaskActor(caf::actor_config& config, std::shared_ptr<AppContext> app,
                     SupervisorHandle supervisor, CommitterHandle committer, TaskRef ref,
                     RestoredTaskPtr restored)
    : Base(config) {
  state.app = std::move(app);
  state.supervisor = std::move(supervisor);
  state.committer = std::move(committer);
  state.ref = ref;
  state.restored = std::move(restored);
  state.queries.emplace(state.app->clock);
  install_handlers(this, state.app->log);
}

TaskHandle::behavior_type TaskActor::make_behavior() {
  if (auto status = create_task(); !status.ok()) fail(status);
  delayed_send(this, kTick, tick_atom::value);
  return {
      [this](wake_atom) { on_wake(); },
      [this](tick_atom) { on_tick(); },
      [this](prepare_atom) { return on_prepare(); },
      [this](committed_atom, const std::shared_ptr<const CommitPoint>& point) {
        on_committed(point.get());
      },
      [this](drain_atom) {
        state.draining = true;
        state.inputs.clear();
        state.queries->clear();
      },
      [this](check_atom, const LogEnds& ends, bool last) { return on_check(ends, last); },
      [this](close_atom, bool checkpoint) -> caf::typed_response_promise<bool> {
        on_close(checkpoint);
        auto promise = make_response_promise<bool>();
        promise.deliver(true);  // Before quit(), which answers what is open with an error.
        quit();
        return promise;
      },
      [this](query_atom, const QueryPtr& query) { on_query(query); },
  };
}

Status TaskActor::create_task() {
  TaskSettings settings;
  settings.errors = error_rules(state.app->config);
  settings.message_bytes_max = static_cast<std::size_t>(
      number_property(state.app->config, ClientRole::kProducer, "message.max.bytes"));
  settings.checkpoint_interval = state.app->config.checkpoint_interval;
  settings.checkpoint_bytes_max = state.app->config.checkpoint_bytes_max;
  settings.transactional = state.app->transactional();
  for (const auto& store : state.restored->plan.stores) {
    const auto found = state.app->min_compaction_lag.find(store.changelog.topic);
    if (found != state.app->min_compaction_lag.end()) {
      settings.min_compaction_lag =
          std::min(settings.min_compaction_lag, protected_time(found->second));
    }
  }
  settings.forward_at_commit = state.app->config.cache_bytes_max > 0;
  settings.hand = std::make_shared<RecordInHand>();
  state.app->watchdog.watch(state.ref.id, state.restored->plan.inputs, settings.hand);
  settings.log = [app = state.app](LogLevel level, const std::string& text) {
    app->log.write(level, text);
  };
  auto task = Task::create(std::move(state.restored->plan), std::move(state.restored->engines),
                           std::move(state.restored->start), *state.app->sink, state.app->clock,
                           std::move(settings), state.app->budget, state.app->registry);
  state.restored.reset();
  if (!task) return task.error();
  state.task = *std::move(task);
  return {};
}

// Called when the first commit is durable: from here on the task may process.
Status TaskActor::open_inputs() {
  const auto& inputs = state.task->plan().inputs;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    auto wake = [woken = state.woken, self = TaskHandle{this}] {
      if (!woken->exchange(true)) caf::anon_send(self, wake_atom::value);
    };
    auto input = state.app->data->open(inputs[i], state.task->position(i), std::move(wake));
    if (!input) return input.error();
    state.inputs.push_back(*std::move(input));
  }
  return {};
}

void TaskActor::on_wake() {
  state.woken->store(false);
  if (!state.started || state.draining || state.failed) return;
  bool more = true;
  const auto until = state.app->clock.elapsed() + kTurnMax;
  for (int i = 0; more && i < kBatchesPerWake; ++i) {
    auto progressed = pull(until);
    if (!progressed) return fail(progressed.error());
    more = *progressed;
    if (state.app->clock.elapsed() >= until) break;
  }
  if (more && !state.woken->exchange(true)) send(this, wake_atom::value);
  state.queries->begin_turn();
  serve_queries();
}

// Between two batches. When reads have had their turn and there are records to process, these come
// first.
void TaskActor::on_query(const QueryPtr& query) {
  if (!state.started || state.failed || state.draining || !state.task)
    return;  // Dropped: not ready.
  state.queries->push(query);
  if (!state.queries->turn_over() || !*state.woken) serve_queries();
}

void TaskActor::serve_queries() {
  state.queries->serve(*state.task);
  if (!state.queries->empty() && !state.woken->exchange(true)) send(this, wake_atom::value);
}

// Takes and processes one batch, or what can be done of it in time. True if there was something to
// process.
Result<bool> TaskActor::pull(std::chrono::nanoseconds until) {
  Task& task = *state.task;
  if (task.wants_commit()) {
    // Memory is full of changes: only a commit and its checkpoint make room. The commit wakes us.
    send(state.committer, commit_atom::value, state.ref.id);
    return false;
  }
  // Brokers are behind: waiting in produce() would hold a thread that other actors need. The tick
  // looks again.
  if (state.app->producer->half_full()) return false;
  if (task.held_back_bytes() > kHeldBackBytesMax) return false;  // The commit in flight wakes us.
  const std::size_t batch_max = state.app->config.batch_records_max;
  for (std::size_t i = 0; i < state.inputs.size(); ++i) {
    if (task.buffered(i) > 0) continue;
    auto batch = state.inputs[i]->take(batch_max);
    if (!batch) return batch.error();
    if (*batch) {
      task.add(i, *std::move(batch));
    } else {
      task.set_caught_up(i, state.inputs[i]->caught_up());
    }
  }
  std::size_t count = 0;
  while (count < batch_max) {
    const auto processed = task.process(std::min(kRecordsPerLook, batch_max - count));
    if (!processed) return processed.error();
    if (*processed == 0) break;
    count += *processed;
    if (state.app->clock.elapsed() >= until) break;
  }
  if (count > 0) note_progress(true);
  return count > 0;
}

// The gap is the longest time without progress while there was something to do.
void TaskActor::note_progress(bool progressed) {
  const auto now = state.app->clock.elapsed();
  if (state.lag_since) {
    auto& longest = state.task->metrics().gap_seconds();
    const double seconds = std::chrono::duration<double>(now - *state.lag_since).count();
    longest.set(std::max(longest.value(), seconds));
  }
  const bool lagging = std::any_of(state.inputs.begin(), state.inputs.end(),
                                   [](const auto& input) { return input->lag() > 0; });
  if (!lagging) {
    state.lag_since.reset();
  } else if (progressed || !state.lag_since) {
    state.lag_since = now;
  }
}

void TaskActor::on_tick() {
  if (state.failed) return;
  if (state.started && !state.draining) {
    note_progress(false);
    on_wake();
    if (state.failed) return;
    if (auto status = state.task->checkpoint_if_due(); !status.ok()) return fail(status);
    state.task->maintain();
  }
  if (state.ticks++ % kTicksPerPublish == 0) publish();
  delayed_send(this, kTick, tick_atom::value);
}

Result<std::shared_ptr<const PreparedCommit>> TaskActor::prepare() {
  if (!state.started) return state.task->prepare_start();
  if (state.draining) {
    if (auto status = state.task->begin_epoch(); !status.ok()) return status;
  }
  return state.task->prepare();
}

Prepared TaskActor::on_prepare() {
  if (!state.failed && state.task) {
    auto prepared = prepare();
    if (prepared) return {*std::move(prepared), false};
    fail(prepared.error());
  }
  return {state.refused, state.refused == nullptr};
}

void TaskActor::on_committed(const CommitPoint* point) {
  if (state.failed) return;
  if (point != nullptr) {
    state.progressed = state.progressed || point->sources != state.task->commit_point().sources;
    state.task->committed(*point);
  }
  // Of a task that is to be closed, outputs enter a transaction only with its next commit: should
  // there be none, the others' must not make them durable without this task's offsets.
  if (!state.draining) {
    if (auto status = state.task->begin_epoch(); !status.ok()) return fail(status);
  }
  if (!state.started) {
    state.started = true;
    if (auto status = open_inputs(); !status.ok()) return fail(status);
    send(state.supervisor, running_atom::value, state.ref);
  }
  if (auto status = state.task->checkpoint_if_due(); !status.ok()) return fail(status);
  on_wake();
}

bool TaskActor::on_check(const LogEnds& ends, bool last) {
  if (!state.started || state.failed) return !state.failed;
  if (auto status = state.task->check_logs(*ends, last); !status.ok()) fail(status, Part::kLog);
  return !state.failed;
}

void TaskActor::on_close(bool checkpoint) {
  state.inputs.clear();
  if (!state.task) return;
  if (checkpoint && !state.failed) {
    if (auto status = state.task->close(); !status.ok()) {
      state.app->log.warn("task " + to_string(state.ref.id) + ": " + status.message() +
                          "; the next start reads the changelog from the last checkpoint on");
    }
  }
  state.task.reset();
}

void TaskActor::publish() {
  if (!state.task) return;
  Task& task = *state.task;
  state.app->board.update_task(state.ref.id, [&](TaskStatus& status) {
    status.inputs.clear();
    for (std::size_t i = 0; i < task.plan().inputs.size(); ++i) {
      const auto& partition = task.plan().inputs[i];
      const std::int64_t lag = i < state.inputs.size() ? state.inputs[i]->lag() : -1;
      const std::int64_t unprocessed = static_cast<std::int64_t>(task.buffered(i));
      status.inputs.push_back({partition, task.position(i),
                               task.commit_point().sources.at(partition.topic),
                               lag < 0 ? -1 : lag + unprocessed});
      if (lag >= 0) task.metrics().input(i).lag.set(static_cast<double>(lag + unprocessed));
    }
    const auto figures = task.store_figures();
    for (std::size_t i = 0; i < figures.size() && i < status.stores.size(); ++i) {
      status.stores[i].entries = figures[i].entries_estimate;
      status.stores[i].disk_bytes = figures[i].disk_bytes;
    }
  });
}

// The task is spent: the supervisor starts another from the commit point. Nothing uncommitted
// survives.
void TaskActor::fail(const Status& status, Part part) {
  if (state.failed) return;
  state.failed = true;
  state.inputs.clear();
  state.queries->clear();
  if (state.app->transactional() && state.task && !is_cause(status)) {
    // The transaction has failed by some task's record. The committer sees whose, once it has asked
    // all of them.
    state.refused = state.task->refused_commit(status);
    return send(state.committer, commit_atom::value, state.ref.id);
  }
  TaskFailure failure{state.ref, status, state.progressed};
  failure.damaged = part == Part::kEngine && status.code() == Code::kCorruption;
  send(state.supervisor, failed_atom::value, failure);
}

}  // namespace millrace
