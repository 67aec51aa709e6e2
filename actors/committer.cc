// SPDX-License-Identifier: Apache-2.0
#include "actors/committer.h"

#include <algorithm>
#include <caf/send.hpp>

#include "actors/handlers.h"

namespace millrace {
namespace {

constexpr std::chrono::milliseconds kPollWait{10};  // Also how long a message may wait.
// A task that is busy with one batch, or blocked on a full producer, answers late; this is when it
// is given up.
constexpr std::chrono::seconds kPrepareTimeout{300};
// Longer than any broker outage that is to be survived: Membership answers when the outcome is
// definite.
constexpr std::chrono::seconds kOutcomeTimeout{24 * 3600};

}  // namespace

Committer::Committer(caf::actor_config& config, std::shared_ptr<AppContext> app,
                     SupervisorHandle supervisor, MembershipHandle membership)
    : Base(config) {
  state.app = std::move(app);
  state.supervisor = std::move(supervisor);
  state.membership = std::move(membership);
  state.commits = &state.app->registry.counter("millrace_commits_total", "Commits of tasks.",
                                               {{"result", "ok"}});
  state.failures = &state.app->registry.counter("millrace_commits_total", "Commits of tasks.",
                                                {{"result", "failed"}});
  state.duration = &state.app->registry.histogram(
      "millrace_commit_duration_seconds",
      "From asking a task for its changes to their offsets being committed.", {},
      metrics::duration_bounds());
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
      [this](leave_atom, TaskRef task) { drop(task); },
      [this](commit_atom, TaskId id) {
        const auto found = state.members.find(id);
        if (found == state.members.end()) return;
        if (found->second.phase == CommitterState::Phase::kIdle) {
          prepare(found->second);
        } else {
          found->second.again = found->second.phase != CommitterState::Phase::kPreparing;
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
          if (member.again && member.phase == CommitterState::Phase::kIdle) prepare(member);
        }
        return promise;
      },
      [this](renew_atom) {
        if (auto status = state.app->producer->renew(); !status.ok()) {
          send(state.supervisor, fatal_atom::value, status);
        }
        return true;
      },
      [this](stop_atom) -> caf::typed_response_promise<bool> {
        state.stopped = true;
        auto promise = make_response_promise<bool>();
        promise.deliver(true);
        quit();
        return promise;
      },
  };
}

void Committer::on_poll() {
  if (state.stopped) return;
  state.app->producer->poll(kPollWait);
  commit_answered();
  const auto now = state.app->clock.elapsed();
  if (now >= state.next_round) {
    state.next_round = now + state.app->config.effective_commit_interval();
    for (auto& [id, member] : state.members) {
      if (member.phase == CommitterState::Phase::kIdle) prepare(member);
    }
    if (auto status = state.app->producer->fatal_error(); !status.ok() && !state.producer_failed) {
      state.producer_failed = true;
      send(state.supervisor, fatal_atom::value, status);
    }
  }
  send(this, poll_atom::value);
}

void Committer::prepare(CommitterState::Member& member) {
  member.phase = CommitterState::Phase::kPreparing;
  member.again = false;
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
  if (prepared.failed) return drop(task);
  if (prepared.commit == nullptr) {
    member->phase = CommitterState::Phase::kIdle;
    return member->again ? prepare(*member) : finished(task);
  }
  member->prepared = prepared.commit;
  member->phase = CommitterState::Phase::kProduced;
}

// Sends the offsets of every task whose records are all acknowledged.
void Committer::commit_answered() {
  auto requests = std::make_shared<std::vector<CommitRequest>>();
  std::vector<std::pair<TaskRef, CommitPoint>> tasks;
  std::vector<std::pair<TaskRef, Status>> failures;
  for (auto& [id, member] : state.members) {
    if (member.phase != CommitterState::Phase::kProduced || !member.prepared->answered()) continue;
    auto point = member.prepared->judge();
    auto offsets = point ? offsets_to_commit(*point, member.prepared->inputs) : point.error();
    if (!offsets) {
      failures.emplace_back(member.info.task, offsets.error());
      continue;
    }
    member.phase = CommitterState::Phase::kCommitting;
    member.prepared.reset();
    requests->push_back({member.info.driver, member.info.epoch, *std::move(offsets)});
    tasks.emplace_back(member.info.task, *std::move(point));
  }
  for (const auto& [task, status] : failures) failed(task, status);
  if (requests->empty()) return;
  request(state.membership, kOutcomeTimeout, commit_atom::value,
          CommitRequests{std::move(requests)})
      .then([this, tasks](const CommitResults& results) { on_results(tasks, *results); },
            [this, tasks](const caf::error&) {
              for (const auto& [task, point] : tasks)
                failed(task, Status::cancelled("the group membership has ended"));
            });
}

void Committer::on_results(const std::vector<std::pair<TaskRef, CommitPoint>>& tasks,
                           const std::vector<Status>& results) {
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const auto& [task, point] = tasks[i];
    auto* member = find(task);
    if (member == nullptr) continue;
    if (!results[i].ok()) {
      failed(task, results[i]);
      continue;
    }
    state.commits->add();
    state.duration->observe(
        std::chrono::duration<double>(state.app->clock.elapsed() - member->began).count());
    send(member->info.handle, committed_atom::value,
         std::shared_ptr<const CommitPoint>{std::make_shared<CommitPoint>(point)});
    member->phase = CommitterState::Phase::kIdle;
    if (member->again) {
      prepare(*member);
    } else {
      finished(task);
    }
  }
}

// Nothing of `task` is left to commit: flushes that waited for it may be over.
void Committer::finished(TaskRef task) {
  std::erase_if(state.flushes, [&](CommitterState::Flush& flush) {
    flush.waiting.erase(task);
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
  state.failures->add();
  drop(task);
  send(state.supervisor, failed_atom::value, TaskFailure{task, status});
}

CommitterState::Member* Committer::find(TaskRef task) {
  const auto found = state.members.find(task.id);
  if (found == state.members.end() || found->second.info.task != task) return nullptr;
  return &found->second;
}

}  // namespace millrace
