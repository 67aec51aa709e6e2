// SPDX-License-Identifier: Apache-2.0
#include "actors/committer.h"

#include <algorithm>
#include <caf/send.hpp>

#include "actors/handlers.h"
#include "runtime/kill_point.h"

namespace millrace {
namespace {

using Phase = CommitterState::Phase;
using Round = CommitterState::Round;

constexpr std::chrono::milliseconds kPollWait{10};  // Also how long a message may wait.
constexpr std::chrono::milliseconds kRoundWait{1};  // The same while all tasks wait for a commit.
// A task that is busy with one batch, or blocked on a full producer, answers late; this is when it
// is given up.
constexpr std::chrono::seconds kPrepareTimeout{300};
// Longer than any broker outage that is to be survived: Membership answers when the outcome is
// definite.
constexpr std::chrono::seconds kOutcomeTimeout{24 * 3600};
// Calls that wait for brokers are made in steps of this, between which messages are served.
constexpr std::chrono::milliseconds kBrokerStep{1000};
// New producers in a row that fail for good before they can be used, and the pause between them.
constexpr int kDeadProducersMax = 10;
constexpr std::chrono::seconds kDeadProducerPause{1};

// Whether a commit of the task has begun and is not known to be over. Of a task that had nothing to
// commit there is none.
bool commits_now(const CommitterState::Member& member) {
  return member.phase == Phase::kPreparing || member.phase == Phase::kCommitting ||
         member.prepared != nullptr;
}

}  // namespace

Committer::Committer(caf::actor_config& config, std::shared_ptr<AppContext> app,
                     SupervisorHandle supervisor, MembershipHandle membership)
    : Base(config) {
  state.app = std::move(app);
  state.supervisor = std::move(supervisor);
  state.membership = std::move(membership);
  auto& registry = state.app->registry;
  state.commits =
      &registry.counter("millrace_commits_total", "Commits of tasks.", {{"result", "ok"}});
  state.failures =
      &registry.counter("millrace_commits_total", "Commits of tasks.", {{"result", "failed"}});
  state.renewals = &registry.counter(
      "millrace_producer_renewals_total",
      "Producers given up: under exactly_once each is a transaction that was not seen to commit.");
  state.duration =
      &registry.histogram("millrace_commit_duration_seconds",
                          "From asking tasks for their changes to their offsets being committed.",
                          {}, metrics::duration_bounds());
  install_handlers(this, state.app->log);
}

CommitterHandle::behavior_type Committer::make_behavior() {
  state.next_round = state.app->clock.elapsed() + state.app->config.effective_commit_interval();
  send(this, poll_atom::value);
  return {
      [this](poll_atom) { on_poll(); },
      [this](join_atom, const CommitMember& member) {
        auto& entry = state.members[member.task.id];
        entry = {};
        entry.info = member;
        prepare(entry);  // The task's first commit, before it may process.
      },
      [this](leave_atom, TaskRef task) { leave(task); },
      [this](commit_atom, TaskId id) {
        const auto found = state.members.find(id);
        if (found == state.members.end()) return;
        if (found->second.phase == Phase::kIdle) {
          prepare(found->second);
        } else {
          // A flush may want one already, for what the task holds back from the present one.
          found->second.again = found->second.again || found->second.phase != Phase::kPreparing;
        }
      },
      [this](flush_atom, const std::vector<TaskId>& ids) -> caf::typed_response_promise<bool> {
        auto promise = make_response_promise<bool>();
        CommitterState::Flush flush{{}, promise};
        for (const TaskId id : ids) {
          const auto found = state.members.find(id);
          if (found == state.members.end()) continue;
          flush.waiting.insert(found->second.info.task);
          found->second.again = true;
        }
        state.flushes.push_back(std::move(flush));
        finished({});
        for (auto& [id, member] : state.members) {
          if (member.again && member.phase == Phase::kIdle) prepare(member);
        }
        return promise;
      },
      [this](void_atom) -> caf::typed_response_promise<bool> {
        state.voiding.push_back(make_response_promise<bool>());
        break_off(Status::fenced("the assignment is lost"), TaskRef{});  // No task's fault.
        return state.voiding.back();
      },
      [this](renew_atom) { state.writers_closed = true; },
      [this](stop_atom) -> caf::typed_response_promise<bool> {
        state.stopped = true;
        // A promise that is kept keeps this actor, and the system waits for it.
        for (auto& promise : state.voiding) promise.deliver(false);
        state.voiding.clear();
        auto promise = make_response_promise<bool>();
        promise.deliver(true);
        quit();
        return promise;
      },
  };
}

void Committer::on_poll() {
  if (state.stopped) return;
  state.app->watchdog.look(state.app->clock.elapsed());
  state.app->producer->poll(state.round == Round::kNone ? kPollWait : kRoundWait);
  if (state.broken) {
    renew();
  } else if (auto status = state.app->producer->fatal_error(); !status.ok()) {
    break_off(status);
  } else if (state.app->transactional()) {
    commit_together();
  } else {
    commit_each();
  }
  send(this, poll_atom::value);
}

void Committer::prepare(Member& member) {
  // A transaction is all tasks' or none's.
  const bool round_begins = state.round == Round::kPreparing;
  if (state.broken || (state.app->transactional() && !round_begins)) {
    member.again = true;
    state.round_wanted = true;
    return;
  }
  member.phase = Phase::kPreparing;
  member.again = false;
  member.writes = true;
  member.began = state.app->clock.elapsed();
  request(member.info.handle, kPrepareTimeout, prepare_atom::value)
      .then([this,
             task = member.info.task](const Prepared& prepared) { on_prepared(task, prepared); },
            [this, task = member.info.task](const caf::error&) {
              failed(task, Status::unavailable("task " + to_string(task.id) +
                                               " did not prepare its commit in time"));
            });
}

void Committer::on_prepared(TaskRef task, const Prepared& prepared) {
  auto* member = find(task);
  if (member == nullptr) return;
  if (prepared.failed) return leave(task);
  member->prepared = prepared.commit;
  member->phase = Phase::kProduced;
  if (prepared.commit == nullptr && !state.app->transactional()) kept(*member, nullptr);
}

// The commit is durable; without a point there was nothing to commit.
void Committer::kept(Member& member, const CommitPoint* point) {
  if (point != nullptr) {
    state.commits->add();
    if (!member.began_at) member.began_at = point->sources;
    member.progressed = member.progressed || point->sources != *member.began_at;
  }
  if (point != nullptr || state.app->transactional()) {
    send(member.info.handle, committed_atom::value,
         point != nullptr ? std::make_shared<const CommitPoint>(*point) : nullptr);
  }
  member.prepared.reset();
  member.phase = Phase::kIdle;
  if (member.again) {
    prepare(member);
  } else {
    finished(member.info.task);
  }
}

// --- At-least-once: each task for itself ---

// Sends the offsets of every task whose records are all acknowledged.
void Committer::commit_each() {
  auto requests = std::make_shared<std::vector<CommitRequest>>();
  Points points;
  std::vector<std::pair<TaskRef, Status>> failures;
  for (auto& [id, member] : state.members) {
    if (member.phase != Phase::kProduced || !member.prepared->answered()) continue;
    auto point = member.prepared->judge();
    auto offsets = point ? offsets_to_commit(*point, member.prepared->inputs) : point.error();
    if (!offsets) {
      failures.emplace_back(member.info.task, offsets.error());
      continue;
    }
    member.phase = Phase::kCommitting;
    member.prepared.reset();
    requests->push_back({member.info.driver, member.info.epoch, *std::move(offsets)});
    points.emplace_back(member.info.task, *std::move(point));
  }
  for (const auto& [task, status] : failures) failed(task, status);
  if (!requests->empty()) {
    request(state.membership, kOutcomeTimeout, commit_atom::value,
            CommitRequests{std::move(requests)})
        .then([this, points](const CommitResults& results) { on_results(points, *results); },
              [this, points](const caf::error&) {
                for (const auto& [task, point] : points)
                  failed(task, Status::cancelled("the group membership has ended"));
              });
  }
  const auto now = state.app->clock.elapsed();
  if (now < state.next_round) return;
  state.next_round = now + state.app->config.effective_commit_interval();
  for (auto& [id, member] : state.members) {
    if (member.phase == Phase::kIdle) prepare(member);
  }
}

void Committer::on_results(const Points& points, const std::vector<Status>& results) {
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto& [task, point] = points[i];
    auto* member = find(task);
    if (member == nullptr) continue;
    if (!results[i].ok()) {
      failed(task, results[i]);
      continue;
    }
    state.duration->observe(
        std::chrono::duration<double>(state.app->clock.elapsed() - member->began).count());
    kept(*member, &point);
  }
}

// --- Exactly-once: one transaction for all ---

// A round, step by step, and what a crash costs at each:
//   1. every task hands over its changes and holds back what it writes from then on. A crash: the
//      transaction is aborted, by the next producer of its id at once, else by the coordinator
//      after transaction.timeout.ms.
//   2. all of it is acknowledged and judged; Membership adds the offsets while it owns the
//      partitions, and the broker refuses them of a member that has been replaced (KIP-447). A
//      crash: as 1. Whoever reads the commit points waits until the transaction is over.
//   3. the coordinator is asked to commit. A crash: the next reader of the commit points learns
//      whether it has.
//   4. the tasks keep their changes and write into the next transaction. A crash: changes are read
//      from the changelogs.
// What fails at any step ends in break_off().
void Committer::commit_together() {
  switch (state.round) {
    case Round::kNone: {
      const auto now = state.app->clock.elapsed();
      if (now < state.next_round && !state.round_wanted) return;
      state.next_round = now + state.app->config.effective_commit_interval();
      return begin_round();
    }
    case Round::kPreparing:
      return send_offsets();
    case Round::kSending:
      return;  // Membership's answer goes on.
    case Round::kEnding:
      return commit_transaction();
  }
}

void Committer::begin_round() {
  state.round = Round::kPreparing;
  state.round_wanted = false;
  state.round_began = state.app->clock.elapsed();
  for (auto& [id, member] : state.members) {
    if (!member.flushed) prepare(member);
  }
}

void Committer::send_offsets() {
  bool changes = false;
  for (const auto& [id, member] : state.members) {
    if (member.phase == Phase::kPreparing) return;
    changes = changes || member.prepared != nullptr;
  }
  state.points.clear();
  if (!changes) return end_round();
  // Nobody writes before the round is over: what lingers may go.
  static_cast<void>(state.app->producer->flush(kBrokerStep));
  for (const auto& [id, member] : state.members) {
    if (member.prepared != nullptr && !member.prepared->answered()) return;
  }
  // A record that is refused takes those of all tasks with it: only who has a cause of its own is
  // to blame, and all are if nobody has one.
  Status refused;
  auto requests = std::make_shared<std::vector<CommitRequest>>();
  for (auto& [id, member] : state.members) {
    if (member.prepared == nullptr) continue;
    auto point = member.prepared->judge();
    auto offsets = point ? offsets_to_commit(*point, member.prepared->inputs) : point.error();
    if (!offsets) {
      if (is_cause(offsets.error())) return break_off(offsets.error(), member.info.task);
      refused = offsets.error();
      continue;
    }
    requests->push_back({member.info.driver, member.info.epoch, *std::move(offsets)});
    state.points.emplace_back(member.info.task, *std::move(point));
  }
  if (!refused.ok()) return break_off(refused);
  state.round = Round::kSending;
  state.sending = true;
  request(state.membership, kOutcomeTimeout, commit_atom::value,
          CommitRequests{std::move(requests)})
      .then(
          [this](const CommitResults& results) {
            state.sending = false;
            if (state.broken) return;
            for (const auto& result : *results) {
              if (!result.ok()) return break_off(result);
            }
            state.round = Round::kEnding;
            commit_transaction();
          },
          [this](const caf::error&) {
            state.sending = false;
            break_off(Status::cancelled("the group membership has ended"));
          });
}

void Committer::commit_transaction() {
  MILLRACE_KILL_POINT("before_commit");
  const auto status = state.app->producer->commit_transaction(kBrokerStep);
  MILLRACE_KILL_POINT("after_commit");
  if (status.code() == Code::kUnavailable) {
    state.app->log.warn(status.message() + "; trying again");
  } else if (!status.ok()) {
    break_off(status);
  } else {
    end_round();
  }
}

void Committer::end_round() {
  state.round = Round::kNone;
  if (!state.points.empty()) {
    state.duration->observe(
        std::chrono::duration<double>(state.app->clock.elapsed() - state.round_began).count());
  }
  for (auto& [id, member] : state.members) {
    if (member.phase != Phase::kProduced) continue;  // It came after the round began.
    const auto point = std::find_if(state.points.begin(), state.points.end(),
                                    [&](const auto& p) { return p.first == member.info.task; });
    kept(member, point == state.points.end() ? nullptr : &point->second);
  }
}

// --- The end of a task or of all ---

void Committer::leave(TaskRef task) {
  const auto* member = find(task);
  if (member == nullptr) return;
  // What it has written since the last commit must not be committed without it.
  const bool spoils = state.app->transactional() && member->writes && !member->flushed;
  if (spoils) {
    break_off(Status::unavailable("task " + to_string(task.id) +
                                  " has left in the middle of the transaction of all tasks"),
              task);
  }
  drop(task);
}

// Nothing of `task` is left to commit: flushes that waited for it may be over.
void Committer::finished(TaskRef task) {
  auto* member = find(task);
  std::erase_if(state.flushes, [&](CommitterState::Flush& flush) {
    if (flush.waiting.erase(task) > 0 && member != nullptr) member->flushed = true;
    if (!flush.waiting.empty()) return false;
    flush.promise.deliver(true);
    return true;
  });
}

void Committer::drop(TaskRef task) {
  if (find(task) != nullptr) state.members.erase(task.id);
  finished(task);
}

void Committer::failed(TaskRef task, const Status& status) {
  if (find(task) == nullptr) return;
  if (state.app->transactional()) return break_off(status, task);
  state.failures->add();
  const bool progressed = find(task)->progressed;
  drop(task);
  send(state.supervisor, failed_atom::value, TaskFailure{task, status, progressed});
}

// Gives up all that is on its way: the tasks that write begin again from their commit points, after
// the producer has been renewed.
void Committer::break_off(const Status& why, std::optional<TaskRef> culprit) {
  if (state.broken) return;
  state.broken = true;
  state.writers_closed = false;
  state.renewed = false;
  state.round = Round::kNone;
  state.points.clear();
  state.renewals->add();
  // What a producer that has failed does to records says less than why it has.
  const auto fatal = state.app->producer->fatal_error();
  const Status& cause = fatal.ok() ? why : fatal;
  std::vector<TaskFailure> writers;
  for (const auto& [id, member] : state.members) {
    if (commits_now(member)) state.failures->add();
    if (!member.writes) continue;
    const bool blameless = culprit && *culprit != member.info.task;
    writers.push_back({member.info.task, cause, member.progressed, true, blameless});
  }
  for (const auto& writer : writers) drop(writer.task);
  send(state.supervisor, broken_atom::value, writers);
}

void Committer::renew() {
  auto& producer = *state.app->producer;
  if (!state.writers_closed || state.sending || state.app->clock.elapsed() < state.renew_at) return;
  auto status = state.renewed ? Status{} : producer.renew();
  state.renewed = true;
  if (status.ok()) status = producer.open(kBrokerStep);
  if (!status.ok()) {
    const bool dead = status.code() != Code::kUnavailable;
    if (dead) ++state.dead_producers;
    if (status.code() == Code::kInvalidArgument || state.dead_producers >= kDeadProducersMax) {
      state.renew_at = std::chrono::nanoseconds::max();
      send(state.supervisor, fatal_atom::value, status);
      return;
    }
    state.app->log.warn(status.message() + "; trying again");
    // Any other client of the same id, or a coordinator that knows better, ends this one too.
    if (dead) {
      state.renewed = false;
      state.renew_at = state.app->clock.elapsed() + kDeadProducerPause;
    }
    return;
  }
  state.broken = false;
  state.dead_producers = 0;
  state.round_wanted = true;
  for (auto& promise : state.voiding) promise.deliver(true);
  state.voiding.clear();
}

CommitterState::Member* Committer::find(TaskRef task) {
  const auto found = state.members.find(task.id);
  if (found == state.members.end() || found->second.info.task != task) return nullptr;
  return &found->second;
}

}  // namespace millrace
