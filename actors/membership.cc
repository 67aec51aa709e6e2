// SPDX-License-Identifier: Apache-2.0
#include "actors/membership.h"

#include <algorithm>
#include <caf/send.hpp>
#include <utility>

#include "actors/handlers.h"
#include "runtime/kill_point.h"

namespace millrace {
namespace {

constexpr std::chrono::milliseconds kPollWait{10};  // Also how long a message may wait.
// Between attempts whose outcome is not definite.
constexpr std::chrono::milliseconds kRetryPause{100};
constexpr std::chrono::milliseconds kOffsetsTimeout{5'000};
// Of an attempt to add offsets to a transaction. librdkafka looks at it when a request is answered
// or given up (just before transaction.timeout.ms is over); the group's events wait meanwhile.
constexpr std::chrono::milliseconds kSendTimeout{1'000};
// So many clients in a row may be made for a membership that ended after it had an assignment,
// until there is one again. Two processes with one name would go on taking it from each other: none
// is made for the first.
constexpr int kRenewalsMax = 3;
// Longer than brokers wait for the first members of a new group (group.initial.rebalance.delay.ms).
constexpr std::chrono::seconds kLongJoin{5};

// Another attempt may end otherwise.
bool is_undecided(const Status& status) { return status.code() == Code::kUnavailable; }

}  // namespace

Membership::Membership(caf::actor_config& config, std::shared_ptr<AppContext> app,
                       SupervisorHandle supervisor, std::unique_ptr<GroupMember> member)
    : Base(config) {
  state.app = std::move(app);
  state.supervisor = std::move(supervisor);
  state.member = std::move(member);
  if (!state.app->config.group_instance_id.empty()) {
    std::size_t partitions = 0;
    for (const auto& topic : state.member->topics()) {
      const auto part =
          std::ranges::find(state.app->subtopologies, topic, &PlacedSubtopology::driver);
      partitions += static_cast<std::size_t>(part->tasks);
    }
    state.unassigned.emplace(state.app->config, state.app->log.for_kafka(), state.member->topics(),
                             partitions);
  }
  install_handlers(this, state.app->log);
}

MembershipHandle::behavior_type Membership::make_behavior() {
  send(this, poll_atom::value);
  return {
      [this](poll_atom) { on_poll(); },
      [this](commit_atom,
             const CommitRequests& requests) -> caf::typed_response_promise<CommitResults> {
        auto promise = make_response_promise<CommitResults>();
        state.commits.push_back(
            {requests, std::vector<std::optional<Status>>(requests->size()), promise});
        return promise;
      },
      [this](offsets_atom, const Partitions& inputs) -> caf::typed_response_promise<OffsetsAnswer> {
        auto promise = make_response_promise<OffsetsAnswer>();
        state.reads.push_back({inputs, promise});
        return promise;
      },
      [this](answer_atom) {
        if (!state.revocation) return;
        MILLRACE_KILL_POINT("before_revoke_answer");
        for (const auto& partition : state.revocation->partitions) state.owned.erase(partition);
        void_commits(state.revocation->partitions);
        state.revocation.reset();
        if (state.renewing) return renew();
        if (auto status = state.member->answer_revoked(); !status.ok())
          state.app->log.warn(status.message());
      },
      [this](stop_atom) -> caf::typed_response_promise<bool> {
        state.stopped = true;
        state.owned.clear();
        send_commits();  // Answers all of them: nothing is owned.
        for (auto& read : state.reads)
          read.promise.deliver(caf::make_error(caf::sec::request_receiver_down));
        // A promise that is kept keeps this actor, and the system waits for it.
        state.reads.clear();
        state.unassigned.reset();
        state.member->close();
        auto promise = make_response_promise<bool>();
        promise.deliver(true);
        quit();
        return promise;
      },
  };
}

void Membership::on_poll() {
  if (state.stopped) return;
  // Events first: a commit must not overtake the news that its partition is lost.
  auto event = state.member->poll(kPollWait);
  if (!state.renewing) on_event(std::move(event));
  send_commits();
  serve_reads();
  if (state.unassigned) state.unassigned->poll(state.app->clock.elapsed());
  tell_of_long_join();
  state.app->data->poll();
  send(this, poll_atom::value);
}

void Membership::on_event(GroupEvent event) {
  switch (event.kind) {
    case GroupEvent::Kind::kNone:
      return;
    case GroupEvent::Kind::kAssigned: {
      if (is_replaced()) {
        // librdkafka tells nobody of a membership that ends while a partition is handed over (its
        // pull request 5604), and says of none of the others whether this process still has it.
        static_cast<void>(state.member->answer_assigned());
        return give_up(
            Status::fenced("this member of the group was replaced while it handed over partitions "
                           "(it stood still, or was cut off, for longer than "
                           "kafka.session.timeout.ms)"));
      }
      if (state.unassigned && !state.member->was_assigned())
        state.unassigned->begin(state.app->clock.elapsed());
      state.renewals_left = kRenewalsMax;
      ++state.epoch;
      for (const auto& partition : event.partitions) state.owned[partition] = state.epoch;
      if (auto status = state.member->answer_assigned(); !status.ok())
        state.app->log.warn(status.message());
      send(state.supervisor, assigned_atom::value,
           AssignmentChange{std::move(event.partitions), state.epoch, false});
      return;
    }
    case GroupEvent::Kind::kRevoked:
    case GroupEvent::Kind::kLost: {
      const bool lost = event.kind == GroupEvent::Kind::kLost || is_replaced();
      if (lost) {
        for (const auto& partition : event.partitions) state.owned.erase(partition);
        void_commits(event.partitions);
      }
      state.revocation = AssignmentChange{std::move(event.partitions), state.epoch, lost};
      send(state.supervisor, revoked_atom::value, *state.revocation);
      return;
    }
    case GroupEvent::Kind::kFatal:
      // Another process with this one's name takes it from a member. What has lost its membership
      // already and joins again may take it from itself: a join whose answer was lost has made a
      // member too (librdkafka issue 3437).
      if (event.error.code() == Code::kFenced && !state.member->is_member() &&
          state.renewals_left > 0)
        return give_up(event.error);
      return end(event.error);
  }
}

void Membership::end(const Status& why) {
  state.owned.clear();
  void_commits({});
  state.unassigned.reset();
  send(state.supervisor, fatal_atom::value, why);
}

// Nothing that came with this membership can be committed any more.
void Membership::give_up(const Status& why) {
  state.app->log.warn(why.message() + "; joining the group anew");
  state.renewing = true;
  if (state.revocation) {
    for (const auto& partition : state.revocation->partitions) state.owned.erase(partition);
  }
  for (const auto& [partition, epoch] : state.owned) state.given_up.push_back(partition);
  state.owned.clear();
  void_commits({});
  if (!state.revocation) renew();
}

// When its tasks are closed: the new member may be given the same partitions at once.
void Membership::renew() {
  if (!state.given_up.empty()) {
    state.revocation = AssignmentChange{std::exchange(state.given_up, {}), state.epoch, true};
    send(state.supervisor, revoked_atom::value, *state.revocation);
    return;
  }
  state.member->close();
  auto member = GroupMember::create(state.app->config, state.app->log.for_kafka(),
                                    std::vector{state.member->topics()});
  if (!member) return end(member.error());
  state.member = *std::move(member);
  state.renewing = false;
  --state.renewals_left;
}

// What is owned here was given to another member than the one that this process is now.
bool Membership::is_replaced() const { return !state.owned.empty() && !state.member->is_member(); }

// While one waits for others nothing happens here, and nobody else would say why.
void Membership::tell_of_long_join() {
  const auto now = state.app->clock.elapsed();
  if (!state.member->joining()) {
    state.joining_since.reset();
    state.told_of_join = false;
    return;
  }
  if (!state.joining_since) state.joining_since = now;
  if (state.told_of_join || now - *state.joining_since < kLongJoin) return;
  state.told_of_join = true;
  const auto session =
      number_property(state.app->config, ClientRole::kMembership, "session.timeout.ms");
  state.app->log.info(
      "still joining the group: it waits for members that have work to finish first, and for those "
      "that ended without leaving until their session is over (kafka.session.timeout.ms, " +
      std::to_string(session) + " here)");
}

bool Membership::alive(const CommitRequest& request) const {
  const auto owned = state.owned.find(request.driver);
  return owned != state.owned.end() && owned->second == request.epoch;
}

// Answers what can no longer be committed. An empty list: everything.
void Membership::void_commits(const std::vector<TopicPartition>& partitions) {
  for (auto& pending : state.commits) {
    for (std::size_t i = 0; i < pending.requests->size(); ++i) {
      const auto& driver = (*pending.requests)[i].driver;
      const bool gone = partitions.empty() ||
                        std::find(partitions.begin(), partitions.end(), driver) != partitions.end();
      if (gone && !pending.results[i])
        pending.results[i] = Status::fenced(to_string(driver) + " is no longer owned here");
    }
  }
}

// A transaction holds the records of all its tasks: it is void when one of them is owned no more.
void Membership::void_torn() {
  for (auto& pending : state.commits) {
    const auto dead = std::find_if_not(pending.requests->begin(), pending.requests->end(),
                                       [this](const auto& request) { return alive(request); });
    if (dead == pending.requests->end()) continue;
    for (auto& result : pending.results)
      result = Status::fenced(to_string(dead->driver) + " is no longer owned here");
  }
}

void Membership::send_commits() {
  const bool may_send = !state.member->joining() && state.member->is_member() &&
                        state.app->clock.elapsed() >= state.retry_at;
  if (state.app->transactional()) void_torn();
  std::vector<OffsetCommit> offsets;
  std::vector<std::pair<std::size_t, std::size_t>> sources;  // Of each offset: commit, request.
  for (std::size_t c = 0; c < state.commits.size(); ++c) {
    auto& pending = state.commits[c];
    for (std::size_t r = 0; r < pending.requests->size(); ++r) {
      const CommitRequest& request = (*pending.requests)[r];
      if (pending.results[r]) continue;
      if (!alive(request)) {
        pending.results[r] = Status::fenced(to_string(request.driver) + " is no longer owned here");
        continue;
      }
      if (request.offsets.empty()) pending.results[r] = Status{};  // No broker's answer comes.
      for (const auto& offset : request.offsets) {
        offsets.push_back(offset);
        sources.emplace_back(c, r);
      }
    }
  }
  if (may_send && !offsets.empty()) {
    MILLRACE_KILL_POINT("before_offsets");
    const auto results =
        state.app->transactional()
            ? std::vector<Status>(offsets.size(), state.member->send_offsets(*state.app->producer,
                                                                             offsets, kSendTimeout))
            : state.member->commit(offsets);
    MILLRACE_KILL_POINT("after_offsets");
    const auto undecided = std::find_if(results.begin(), results.end(), is_undecided);
    if (undecided != results.end()) try_again(*undecided);
    for (std::size_t i = 0; i < results.size(); ++i) {
      auto& result = state.commits[sources[i].first].results[sources[i].second];
      // Unknown outcome: the same commit goes out again until its result is definite. A partition
      // that failed for good fails its task, whatever the others of the task say.
      if (is_undecided(results[i])) {
        if (!result || result->ok()) result = Status::unavailable("undecided");
      } else if (!result || (result->ok() && !results[i].ok())) {
        result = results[i];
      }
    }
    for (auto& pending : state.commits) {
      for (auto& result : pending.results) {
        if (result && is_undecided(*result)) result.reset();
      }
    }
  }
  std::erase_if(state.commits, [](auto& pending) {
    if (!std::all_of(pending.results.begin(), pending.results.end(),
                     [](const auto& r) { return r.has_value(); })) {
      return false;
    }
    auto results = std::make_shared<std::vector<Status>>();
    for (auto& result : pending.results) results->push_back(*result);
    pending.promise.deliver(CommitResults{std::move(results)});
    return true;
  });
}

void Membership::serve_reads() {
  if (state.reads.empty() || state.member->joining() || state.app->clock.elapsed() < state.retry_at)
    return;
  auto status = read(state.reads);
  if (status.ok()) return state.reads.clear();
  if (!is_undecided(status)) {
    // What one of them is refused must not keep the others' tasks from starting.
    status = {};
    std::erase_if(state.reads, [&](auto& pending) {
      if (status.ok()) status = read({&pending, 1});
      return status.ok();
    });
  }
  if (!status.ok()) try_again(status);
}

// Answers all of them after one request to the broker. One by itself is told too why it cannot be
// read.
Status Membership::read(std::span<MembershipState::PendingRead> reads) {
  std::vector<TopicPartition> inputs;
  for (const auto& pending : reads)
    inputs.insert(inputs.end(), pending.inputs->begin(), pending.inputs->end());
  const auto offsets = state.member->committed(inputs, kOffsetsTimeout);
  if (!offsets) {
    if (reads.size() > 1 || is_undecided(offsets.error())) return offsets.error();
    reads.front().promise.deliver(OffsetsAnswer{nullptr, offsets.error()});
    return {};
  }
  auto next = offsets->begin();
  for (auto& pending : reads) {
    const auto count = static_cast<std::ptrdiff_t>(pending.inputs->size());
    pending.promise.deliver(
        OffsetsAnswer{std::make_shared<std::vector<CommittedOffset>>(next, next + count), {}});
    next += count;
  }
  return {};
}

// The log has room for a few of these: an outage may be long.
void Membership::try_again(const Status& why) {
  const auto now = state.app->clock.elapsed();
  state.retry_at = now + kRetryPause;
  if (const auto count = state.retries.left_out(now); count > 0) {
    state.app->log.warn(std::to_string(count) +
                        " more attempts to commit or to read offsets, not logged one by one");
  }
  if (state.retries.admit(now)) state.app->log.warn(why.message() + "; trying again");
}

}  // namespace millrace
