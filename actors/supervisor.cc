// SPDX-License-Identifier: Apache-2.0
#include "actors/supervisor.h"

#include <algorithm>
#include <caf/send.hpp>
#include <thread>
#include <utility>

#include "actors/committer.h"
#include "actors/grown_inputs.h"
#include "actors/handlers.h"
#include "actors/membership.h"
#include "actors/restorer.h"
#include "actors/task_actor.h"
#include "runtime/kafka/client_config.h"
#include "runtime/restart_pause.h"

namespace millrace {
namespace {

using Phase = SupervisorState::Phase;

// Of the actors beside the tasks: without one of them nothing goes on.
constexpr auto kOwnThread = caf::detached + caf::monitored;

// The group waits for a revocation: what cannot be committed in this time is dropped and done again
// by the next owner.
constexpr std::chrono::seconds kFlushTimeout{20};
// Longer than a task may wait for room in the producer's queue.
constexpr std::chrono::seconds kCloseTimeout{90};
// These wait out broker failures by themselves and always answer.
constexpr std::chrono::seconds kPatience{24 * 3600};
constexpr std::chrono::seconds kLeaveTimeout{10};
// Each has two clients of its own; more of them than this wait for brokers and disks all the same.
constexpr std::size_t kRestorersMax = 4;

// Between two looks at the changelogs, which otherwise is a quarter of the compaction lag.
constexpr std::chrono::milliseconds kCheckIntervalMin{250};
// A task that hangs must not keep the others from being looked at.
constexpr std::chrono::seconds kLookTimeout{60};
// The last look, and what it finds to heal, may hold up a stop for so long.
constexpr std::chrono::seconds kLastCheckMax{3};

constexpr std::chrono::milliseconds kCleanupInterval = std::chrono::minutes{1};
constexpr std::chrono::milliseconds kCleanupIntervalMin{100};

// How long others take at most, as a rule, to give up what the group has decided to move: they hear
// of it with a heartbeat, and so does the new member.
std::chrono::milliseconds settle_time(const Config& config) {
  return std::chrono::milliseconds{
      2 * number_property(config, ClientRole::kMembership, "heartbeat.interval.ms")};
}

// Failures that another attempt cannot mend.
bool is_final(const Status& status) {
  return status.code() == Code::kInvalidArgument || status.code() == Code::kCorruption;
}

}  // namespace

Supervisor::Supervisor(caf::actor_config& config, std::shared_ptr<AppContext> app,
                       std::unique_ptr<GroupMember> member)
    : Base(config) {
  state.app = std::move(app);
  state.member = std::move(member);
  install_handlers(this, state.app->log);
  set_down_handler([this](caf::down_msg& down) { on_down(down); });
}

SupervisorHandle::behavior_type Supervisor::make_behavior() {
  return {
      [this](start_atom) { on_start(); },
      [this](assigned_atom, const AssignmentChange& change) { on_assigned(change); },
      [this](revoked_atom, const AssignmentChange& change) { on_revoked(change); },
      [this](running_atom, TaskRef ref) { on_running(ref); },
      [this](failed_atom, const TaskFailure& failure) { on_failed(failure); },
      [this](broken_atom, const std::vector<TaskFailure>& writers) { on_broken(writers); },
      [this](start_atom, TaskRef ref) {
        Entry* entry = find(ref);
        if (entry != nullptr && entry->phase == Phase::kWaiting && !state.stopping) begin(*entry);
      },
      [this](settled_atom) { on_settled(); },
      [this](check_atom) {
        if (!state.leaving) {
          check_all();
          count_partitions();
        }
        delayed_send(this, check_interval(), check_atom::value);
      },
      [this](checked_atom) { on_stop({}); },
      [this](tick_atom) { on_tick(); },
      [this](fatal_atom, const Status& status) { on_stop(status); },
      [this](stop_atom) { on_leave(); },
  };
}

void Supervisor::on_start() {
  state.rebalances = &state.app->registry.counter("millrace_rebalances_total",
                                                  "Assignments this instance was given.");
  state.app->board.set_app_state(AppState::kRebalancing);
  state.cleaner.emplace(state.app->config.state_cleanup_delay, state.app->clock);
  on_tick();
  delayed_send(this, check_interval(), check_atom::value);
  const SupervisorHandle self{this};
  state.membership = spawn<Membership, kOwnThread>(state.app, self, std::move(state.member));
  state.committer = spawn<Committer, kOwnThread>(state.app, self, state.membership);
  const std::size_t asked = state.app->config.restore_threads;
  const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  state.restorers.resize(asked > 0 ? asked : std::min(cores, kRestorersMax));
  for (auto& restorer : state.restorers) restorer.actor = spawn_restorer();
}

RestorerHandle Supervisor::spawn_restorer() {
  const std::size_t all = state.restorers.size() + 1;  // With the spare one.
  return spawn<Restorer, kOwnThread>(state.app, state.app->config.restore_bytes_max / all);
}

// Removes state of tasks that are others' now. Whoever gets a task is in `tasks` before anything is
// opened.
void Supervisor::on_tick() {
  if (state.stopping) return;
  delayed_send(
      this,
      std::clamp(state.app->config.state_cleanup_delay, kCleanupIntervalMin, kCleanupInterval),
      tick_atom::value);
  // What is lost while no broker answers has not moved to anybody yet.
  if (state.rebalancing) {
    state.cleaner.emplace(state.app->config.state_cleanup_delay, state.app->clock);
    return;
  }
  std::set<std::string> owned;
  for (const auto& [id, entry] : state.tasks) owned.insert(to_string(id));
  for (const TaskId id : state.unclosed) owned.insert(to_string(id));
  const std::lock_guard lock{state.app->state_directory_mutex};
  const auto removals = state.cleaner->look(*state.app->state_directory, owned);
  if (!removals)
    return state.app->log.warn("state that is not used is not removed: " +
                               removals.error().message());
  for (const auto& removal : *removals) {
    state.app->log.info(
        "removing the state of task " + removal.task_id + ": it has not been this instance's for " +
        std::to_string(removal.unused_for.count()) + " ms (setting state_cleanup_delay_ms)");
    send(state.restorers.front().actor, remove_atom::value, removal.set_aside.string());
  }
}

// --- Assignment ---

std::vector<TaskId> Supervisor::tasks_of(const std::vector<TopicPartition>& partitions) const {
  std::vector<TaskId> ids;
  for (const auto& partition : partitions) {
    for (std::size_t s = 0; s < state.app->subtopologies.size(); ++s) {
      if (state.app->subtopologies[s].driver == partition.topic) {
        ids.push_back({static_cast<std::int32_t>(s), partition.partition});
      }
    }
  }
  return ids;
}

// Partitions of drivers that the start did not see: the group places what the brokers have.
Status Supervisor::added(const std::vector<TopicPartition>& partitions) const {
  PartitionCounts counts;
  for (const auto& partition : partitions) {
    auto& count = counts[partition.topic];
    count = std::max(count, partition.partition + 1);
  }
  return check_growth(*state.app, counts);
}

void Supervisor::on_assigned(const AssignmentChange& change) {
  if (state.stopping) return;
  if (const auto status = added(change.partitions); !status.ok()) return on_stop(status);
  state.rebalances->add();
  // A new member is given nothing at first while others hold what is to be its: it is not ready
  // before that has come, or so much time has passed that nothing is to come.
  if (change.partitions.empty() && !state.app->board.was_assigned()) {
    if (!state.settling) delayed_send(this, settle_time(state.app->config), settled_atom::value);
    state.settling = true;
    return;
  }
  state.app->board.set_assigned();
  state.rebalancing = false;
  for (const TaskId id : tasks_of(change.partitions)) {
    const auto& driver = state.app->subtopologies[static_cast<std::size_t>(id.subtopology)].driver;
    const auto found = state.tasks.find(id);
    if (found != state.tasks.end()) {
      // Still here under an older epoch, under which nothing can be committed any more: close it,
      // then begin anew.
      if (found->second.phase != Phase::kClosing) close({id}, Closing::kDrop);
      const auto closing = state.tasks.find(id);
      if (closing != state.tasks.end()) {
        closing->second.next_epoch = change.epoch;
        continue;
      }
    }
    Entry& entry = state.tasks[id];
    entry = {};
    entry.ref.id = id;
    entry.driver = {driver, id.partition};
    entry.epoch = change.epoch;
    begin(entry);
  }
  if (!change.partitions.empty()) {
    state.app->log.info("assigned " + std::to_string(change.partitions.size()) +
                        " partitions, now " + std::to_string(state.tasks.size()) + " tasks");
  }
  show_state();
}

void Supervisor::on_settled() {
  if (state.stopping || state.app->board.was_assigned()) return;
  state.app->board.set_assigned();
  state.app->log.info("assigned no partitions: other members have them all");
  state.rebalancing = false;
  show_state();
}

void Supervisor::on_revoked(const AssignmentChange& change) {
  const auto ids = tasks_of(change.partitions);
  state.app->log.write(change.lost ? LogLevel::kWarn : LogLevel::kInfo,
                       (change.lost ? "lost " : "revoked ") +
                           std::to_string(change.partitions.size()) + " partitions");
  state.rebalancing = true;
  state.answer_due = true;
  for (const TaskId id : ids) {
    if (state.tasks.contains(id)) state.revoking.insert(id);
  }
  close(ids, change.lost ? Closing::kDrop : Closing::kFlush);
  if (change.lost) {
    // A lost assignment is the whole one: others own the partitions by now. What these tasks had on
    // the way to a broker that did not answer must not come there later, as the newest of its keys.
    state.voiding = true;
    const auto voided = [this] {
      state.voiding = false;
      answer_if_closed();
    };
    request(state.committer, kPatience, void_atom::value)
        .then([voided](bool) { voided(); }, [voided](const caf::error&) { voided(); });
  }
  show_state();
  answer_if_closed();
}

void Supervisor::answer_if_closed() {
  if (!state.answer_due || !state.revoking.empty() || state.voiding) return;
  state.answer_due = false;
  send(state.membership, answer_atom::value);
}

// What is on its way to the brokers cannot be told apart by task: all that write begin again.
void Supervisor::on_broken(const std::vector<TaskFailure>& writers) {
  if (state.stopping) return;
  for (const auto& writer : writers) on_failed(writer);
  for (const auto& [id, entry] : state.tasks) {
    if (entry.phase == Phase::kClosing && entry.handle) state.writers.insert(entry.ref);
  }
  state.renewal_due = true;
  renew_if_closed();
}

void Supervisor::renew_if_closed() {
  if (!state.renewal_due || !state.writers.empty() || state.stopping) return;
  state.renewal_due = false;
  send(state.committer, renew_atom::value);
}

// --- The life of a task ---

Supervisor::Entry* Supervisor::find(TaskRef ref) {
  const auto found = state.tasks.find(ref.id);
  if (found == state.tasks.end() || found->second.ref != ref) return nullptr;
  return &found->second;
}

metrics::Counter& Supervisor::failures_of(TaskId id) const {
  return state.app->registry.counter("millrace_task_failures_total",
                                     "Attempts at tasks that ended in a failure.",
                                     {{"task", to_string(id)}});
}

TaskPlan Supervisor::plan(TaskId id) const {
  return plan_task(state.app->graph, id,
                   state.app->subtopologies[static_cast<std::size_t>(id.subtopology)].partitions,
                   state.app->config.application_id, error_rules(state.app->config));
}

// Whether the task's engines keep what they hold when they are closed.
bool Supervisor::keeps_all(const TaskPlan& plan) const {
  return std::ranges::all_of(plan.stores, [&](const StorePlan& store) {
    const auto& own = plan.graph->stores()[store.store].options.engine();
    return own ? own->persistent() : state.app->engine->persistent();
  });
}

Supervisor::RestorerEntry& Supervisor::idlest_restorer() {
  return *std::min_element(state.restorers.begin(), state.restorers.end(),
                           [](const auto& a, const auto& b) { return a.tasks < b.tasks; });
}

// Tasks that have run here a moment ago, and looks, do not wait for a restore that may take long.
Supervisor::RestorerEntry& Supervisor::quick_restorer() {
  RestorerEntry* quick = nullptr;
  for (auto& restorer : state.restorers) {
    if (restorer.cold == 0 && (quick == nullptr || restorer.tasks < quick->tasks))
      quick = &restorer;
  }
  if (quick != nullptr) return *quick;
  if (!state.spare_restorer.actor) state.spare_restorer.actor = spawn_restorer();
  return state.spare_restorer;
}

// Reads the commit point, restores, and only then makes the actor: each step answers with the
// attempt's number.
void Supervisor::begin(Entry& entry) {
  entry.ref.attempt = ++state.attempts;
  entry.phase = Phase::kCreated;
  entry.running = false;
  entry.handle.reset();
  entry.order = std::make_shared<RestoreOrder>();
  static_cast<void>(failures_of(entry.ref.id));  // There from the start, at 0.
  auto plan = this->plan(entry.ref.id);
  state.app->board.set_task_state(entry.ref.id, TaskState::kCreated);
  state.app->board.update_task(entry.ref.id, [&](TaskStatus& status) {
    status.stores.clear();
    for (const auto& store : plan.stores) {
      TaskStatus::Store shown;
      shown.name = plan.graph->stores()[store.store].options.name();
      const auto& own = plan.graph->stores()[store.store].options.engine();
      shown.engine = std::string{own ? own->name() : state.app->engine->name()};
      status.stores.push_back(std::move(shown));
    }
  });
  state.app->board.set_task_state(entry.ref.id, TaskState::kRestoring);
  auto inputs = std::make_shared<const std::vector<TopicPartition>>(plan.inputs);
  request(state.membership, kPatience, offsets_atom::value, Partitions{inputs})
      .then([this, ref = entry.ref,
             plan = std::move(plan)](const OffsetsAnswer& offsets) { restore(ref, plan, offsets); },
            [this, ref = entry.ref](const caf::error&) { closed(ref); });
}

void Supervisor::restore(TaskRef ref, const TaskPlan& plan, const OffsetsAnswer& offsets) {
  Entry* entry = find(ref);
  if (entry == nullptr) return;  // Closed meanwhile.
  if (!offsets.status.ok()) {
    entry->phase = Phase::kFailed;
    return on_failed({ref, offsets.status});
  }
  entry->phase = Phase::kRestoring;
  const bool is_short = entry->warm && entry->damage.empty() && keeps_all(plan);
  auto what = std::make_shared<const RestoreRequest>(
      RestoreRequest{plan, *offsets.committed, entry->order, std::exchange(entry->damage, {})});
  auto& restorer = is_short ? quick_restorer() : idlest_restorer();
  const std::size_t cold = is_short ? 0 : 1;
  ++restorer.tasks;
  restorer.cold += cold;
  const auto answered = [this, ref, &restorer, cold](const RestoreAnswer& answer) {
    --restorer.tasks;
    restorer.cold -= cold;
    on_restored(ref, answer);
  };
  request(restorer.actor, kPatience, restore_atom::value, RestoreRequestPtr{std::move(what)})
      .then(answered, [answered](const caf::error&) {
        answered({nullptr, Status::internal("the restorer has ended")});
      });
}

void Supervisor::on_restored(TaskRef ref, const RestoreAnswer& answer) {
  Entry* entry = find(ref);
  if (entry == nullptr) return;
  if (entry->phase == Phase::kClosing) {
    if (answer.task) static_cast<void>(answer.task->engines.close());
    return closed(ref);
  }
  if (!answer.status.ok()) {
    entry->phase = Phase::kFailed;
    return on_failed({ref, answer.status});
  }
  entry->phase = Phase::kActive;
  entry->handle = spawn<TaskActor, caf::monitored>(state.app, SupervisorHandle{this},
                                                   state.committer, ref, answer.task);
  send(state.committer, join_atom::value,
       CommitMember{ref, *entry->handle, entry->driver, entry->epoch});
}

void Supervisor::on_running(TaskRef ref) {
  Entry* entry = find(ref);
  if (entry == nullptr || entry->phase != Phase::kActive) return;
  entry->running = entry->warm = true;
  entry->running_since = state.app->clock.elapsed();
  state.app->directory.add(ref.id, *entry->handle);  // First: what is shown as running can be read.
  state.app->board.set_task_state(ref.id, TaskState::kRunning);
  show_state();
  state.unhealed.erase(ref.id);
  leave_if_checked();
}

void Supervisor::on_failed(const TaskFailure& failure) {
  Entry* entry = find(failure.task);
  if (entry == nullptr || entry->phase == Phase::kWaiting || entry->phase == Phase::kClosing ||
      entry->phase == Phase::kParked)
    return;
  const std::string id = to_string(failure.task.id);
  if (!failure.blameless) {
    const auto ran = entry->running ? state.app->clock.elapsed() - entry->running_since
                                    : std::chrono::nanoseconds{0};
    entry->failures = failures_in_row(state.app->config, entry->failures, failure.progressed, ran);
    failures_of(failure.task.id).add();
  }
  state.app->board.update_task(failure.task.id, [&](TaskStatus& status) {
    ++status.restarts;
    if (!failure.blameless) status.error = failure.status.message();
  });
  const auto& config = state.app->config;
  if (failure.blameless) {
    state.app->log.info("task " + id +
                        " begins again from its last commit: " + failure.status.message());
    entry->restart = true;
  } else if ((is_final(failure.status) && !failure.damaged) ||
             entry->failures > config.task_restart_limit) {
    const std::string text = "task " + id + " failed" +
                             (entry->failures <= config.task_restart_limit
                                  ? ""
                                  : " " + std::to_string(entry->failures) + " times in a row") +
                             ": " + failure.status.message();
    if (config.on_task_failure == TaskFailurePolicy::kStop || state.leaving)
      return on_stop(Status{failure.status.code(), text});
    state.app->log.error(text +
                         "; it is parked: nothing of its partitions is processed until they are "
                         "assigned anew or the process starts again (on_task_failure = park)");
    entry->park = true;
  } else {
    state.app->log.warn("task " + id + " failed (" + std::to_string(entry->failures) + " of " +
                        std::to_string(config.task_restart_limit) +
                        "): " + failure.status.message());
    entry->restart = true;
    if (failure.damaged) entry->damage = failure.status.message();
  }
  if (!entry->handle) {
    entry->phase = Phase::kClosing;
    return closed(failure.task);
  }
  close({failure.task.id}, failure.sound ? Closing::kKeep : Closing::kDrop);
  show_state();
}

// An actor has ended without being asked to: the log has what it has thrown. A task's engines have
// gone with it.
void Supervisor::on_down(const caf::down_msg& down) {
  if (state.finishing) return;
  const auto is_its = [&](const auto& actor) { return actor && actor.address() == down.source; };
  if (is_its(state.membership) || is_its(state.committer) || is_its(state.spare_restorer.actor) ||
      std::ranges::any_of(state.restorers, is_its, &RestorerEntry::actor)) {
    return on_stop(Status::internal(
        "an actor ended by what it has thrown, which the log says above; restart the process"));
  }
  const auto found = std::ranges::find_if(state.tasks, [&](const auto& task) {
    return task.second.handle && task.second.handle->address() == down.source;
  });
  if (found == state.tasks.end() || found->second.phase == Phase::kClosing) return;
  const TaskRef ref = found->second.ref;
  found->second.handle.reset();
  state.app->directory.remove(ref.id);
  send(state.committer, leave_atom::value, ref);
  on_failed({ref, Status::internal("task " + to_string(ref.id) +
                                   " ended by what it has thrown, which the log says above")});
}

// Closes tasks in whatever phase they are.
void Supervisor::close(const std::vector<TaskId>& ids, Closing how) {
  std::vector<TaskRef> to_flush;
  std::vector<TaskRef> at_once;
  for (const TaskId id : ids) {
    const auto found = state.tasks.find(id);
    if (found == state.tasks.end()) continue;
    Entry& entry = found->second;
    const Phase phase = entry.phase;
    if (phase == Phase::kClosing) {
      entry.next_epoch.reset();
      entry.restart = entry.restart && !state.stopping && !state.revoking.contains(id);
      entry.park = entry.park && !state.stopping && !state.revoking.contains(id);
      continue;
    }
    entry.phase = Phase::kClosing;
    state.app->directory.remove(id);
    if (phase == Phase::kRestoring && !entry.order->cancel()) {
      // Its answer closes it.
    } else if (!entry.handle) {
      // Nothing is open. Membership's answer to a task that is being created is not waited for:
      // while a join is under way it reads nothing, and the join may wait for this.
      at_once.push_back(entry.ref);
    } else {
      send(*entry.handle, drain_atom::value);
      if (entry.running) state.app->board.set_task_state(id, TaskState::kSuspended);
      (how == Closing::kFlush && entry.running ? to_flush : at_once).push_back(entry.ref);
    }
  }
  close_actors(at_once, how == Closing::kKeep);
  if (to_flush.empty()) return;
  std::vector<TaskId> flushed;
  for (const TaskRef ref : to_flush) flushed.push_back(ref.id);
  request(state.committer, kFlushTimeout, flush_atom::value, flushed)
      .then([this, to_flush](bool) { close_actors(to_flush, true); },
            [this, to_flush](const caf::error&) {
              state.app->log.warn(
                  "tasks could not commit in time before they were closed; their last records are "
                  "processed again by the next owner");
              close_actors(to_flush, true);
            });
}

void Supervisor::close_actors(const std::vector<TaskRef>& tasks, bool checkpoint) {
  for (const TaskRef ref : tasks) {
    Entry* entry = find(ref);
    if (entry == nullptr) continue;
    if (!entry->handle) {
      closed(ref);
      continue;
    }
    send(state.committer, leave_atom::value, ref);
    request(*entry->handle, kCloseTimeout, close_atom::value, checkpoint)
        .then([this, ref](bool) { closed(ref); },
              [this, ref](const caf::error&) {
                state.app->log.warn("task " + to_string(ref.id) + " did not close in time");
                state.unclosed.insert(ref.id);
                // It may wake up and write: into the next transaction, or with a client that is
                // no more. And nobody else can open its files.
                const Entry* hung = find(ref);
                const bool wanted = hung != nullptr && (hung->restart || hung->next_epoch);
                if (state.app->transactional() || state.renewal_due || state.voiding || wanted) {
                  on_stop(Status::internal(
                      "task " + to_string(ref.id) +
                      " hangs in user code or in its store: the producer that it writes with "
                      "cannot be renewed, nor its store be opened again; restart the process"));
                }
                closed(ref);
              });
  }
}

void Supervisor::closed(TaskRef ref) {
  Entry* entry = find(ref);
  if (entry == nullptr) return;
  entry->handle.reset();
  state.app->board.set_task_state(ref.id, TaskState::kClosed);
  state.revoking.erase(ref.id);
  state.writers.erase(ref);
  renew_if_closed();
  if (!state.stopping && entry->next_epoch) {
    entry->epoch = *entry->next_epoch;
    entry->next_epoch.reset();
    entry->restart = false;
    entry->park = false;
    begin(*entry);
  } else if (!state.stopping && entry->restart) {
    entry->restart = false;
    entry->phase = Phase::kWaiting;
    delayed_send(this, restart_pause(state.app->config, entry->failures, state.random),
                 start_atom::value, ref);
  } else if (!state.stopping && entry->park) {
    entry->park = false;
    entry->phase = Phase::kParked;
    state.app->board.set_task_state(ref.id, TaskState::kParked);
  } else {
    state.tasks.erase(ref.id);
    state.app->board.remove_task(ref.id);
  }
  answer_if_closed();
  finish_if_closed();
  show_state();
}

// --- What others write behind our back ---

std::chrono::milliseconds Supervisor::check_interval() const {
  auto lag = kMinCompactionLag;
  for (const auto& [topic, theirs] : state.app->min_compaction_lag)
    lag = std::min(lag, protected_time(theirs));
  return std::max(lag / 4, kCheckIntervalMin);
}

// Asks where the changelogs of all running tasks end, in one request, and tells each task; one look
// at a time.
void Supervisor::check_all() {
  if (state.checking > 0 || state.stopping) return;
  auto changelogs = std::make_shared<std::vector<std::optional<TopicPartition>>>();
  std::vector<std::pair<TaskRef, std::size_t>> tasks;  // Where its stores begin in the list.
  for (const auto& [id, entry] : state.tasks) {
    if (!entry.running || entry.phase != Phase::kActive) continue;
    tasks.emplace_back(entry.ref, changelogs->size());
    for (const auto& store : plan(id).stores) {
      changelogs->emplace_back();
      if (store.writes_changelog()) changelogs->back() = store.changelog;
    }
  }
  if (changelogs->empty()) return;
  tasks.emplace_back(TaskRef{}, changelogs->size());
  state.checking = 1;
  request(quick_restorer().actor, kPatience, ends_atom::value, Changelogs{std::move(changelogs)})
      .then(
          [this, tasks](const LogEnds& ends) {
            for (std::size_t i = 0; ends != nullptr && i + 1 < tasks.size(); ++i) {
              const auto at = [&](std::size_t task) {
                return ends->begin() + static_cast<std::ptrdiff_t>(tasks[task].second);
              };
              tell(tasks[i].first, std::make_shared<std::vector<std::int64_t>>(at(i), at(i + 1)));
            }
            checked();
          },
          [this](const caf::error&) { checked(); });
}

// The group tells of partitions that drivers get, and of no others.
void Supervisor::count_partitions() {
  if (state.counting || state.stopping) return;
  auto topics = std::make_shared<std::vector<std::string>>();
  for (std::size_t s = 0; s < state.app->subtopologies.size(); ++s) {
    for (const auto& topic : state.app->graph->subtopologies()[s].source_topics) {
      if (topic != state.app->subtopologies[s].driver) topics->push_back(topic);
    }
  }
  if (topics->empty()) return;
  state.counting = true;
  request(quick_restorer().actor, kPatience, counts_atom::value, TopicNames{std::move(topics)})
      .then(
          [this](const PartitionCountsPtr& counts) {
            state.counting = false;
            const auto status = check_growth(*state.app, *counts);
            if (!status.ok() && !state.leaving) on_stop(status);
          },
          [this](const caf::error&) { state.counting = false; });
}

void Supervisor::tell(TaskRef ref, LogEnds ends) {
  const Entry* task = find(ref);
  if (task == nullptr || !task->handle) return;
  ++state.checking;
  request(*task->handle, kLookTimeout, check_atom::value, std::move(ends), state.leaving)
      .then(
          [this, ref](bool sound) {
            if (!sound && state.leaving) state.unhealed.insert(ref.id);
            checked();
          },
          [this](const caf::error&) { checked(); });
}

void Supervisor::checked() {
  --state.checking;
  if (state.leaving && state.checking == 0 && !state.last_look) look_last();
  leave_if_checked();
}

// --- The end ---

// Before an orderly stop the changelogs are looked at once more: nobody may run for so long that
// brokers compact what foreign records supersede.
void Supervisor::on_leave() {
  if (state.leaving || state.stopping) return;
  state.leaving = true;
  for (const auto& [id, entry] : state.tasks) {
    // What has made it fail may be such a record.
    if (entry.restart || entry.phase == Phase::kWaiting) state.unhealed.insert(id);
  }
  delayed_send(this, kLastCheckMax, checked_atom::value);
  if (state.checking == 0) look_last();
  leave_if_checked();
}

// Not before the look that is under way, if there is one, is over: what it asks of the tasks is not
// what a last one does.
void Supervisor::look_last() {
  state.last_look = true;
  check_all();
}

void Supervisor::leave_if_checked() {
  if (!state.leaving || state.stopping || !state.unhealed.empty()) return;
  if (state.last_look && state.checking == 0) on_stop({});
}

// The order of an orderly stop: no more records, commit, checkpoint, engines closed; leave the
// group; the other actors.
void Supervisor::on_stop(const Status& why) {
  if (state.stopping) return;
  state.stopping = true;
  state.error = why;
  state.app->board.set_app_state(AppState::kPendingShutdown, why.ok() ? "" : why.message());
  std::vector<TaskId> all;
  for (auto& [id, entry] : state.tasks) {
    entry.restart = entry.park = false;
    all.push_back(id);
  }
  close(all, Closing::kFlush);
  finish_if_closed();
}

void Supervisor::finish_if_closed() {
  if (!state.stopping || state.finishing || !state.tasks.empty()) return;
  state.finishing = true;
  const auto last = [this] {
    for (auto& restorer : state.restorers) send(restorer.actor, stop_atom::value);
    if (state.spare_restorer.actor) send(state.spare_restorer.actor, stop_atom::value);
    state.app->directory.clear();
    state.app->board.set_app_state(state.error.ok() ? AppState::kStopped : AppState::kError,
                                   state.error.message());
    state.membership = nullptr;
    state.committer = nullptr;
    state.restorers.clear();
    state.spare_restorer = {};
    quit();
  };
  const auto stop_committer = [this, last] {
    request(state.committer, kLeaveTimeout, stop_atom::value)
        .then([last](bool) { last(); }, [last](const caf::error&) { last(); });
  };
  request(state.membership, kLeaveTimeout, stop_atom::value)
      .then([stop_committer](bool) { stop_committer(); },
            [stop_committer](const caf::error&) { stop_committer(); });
}

void Supervisor::show_state() {
  if (state.stopping) return;
  const bool all_running = std::all_of(
      state.tasks.begin(), state.tasks.end(),
      [](const auto& task) { return task.second.running && task.second.phase == Phase::kActive; });
  state.app->board.set_app_state(state.rebalancing ? AppState::kRebalancing
                                 : all_running     ? AppState::kRunning
                                                   : AppState::kRestoring);
}

}  // namespace millrace
