// SPDX-License-Identifier: Apache-2.0
//
// README.md F1 to F4: processes that end without warning, or stand still for too long.
#include <csignal>
#include <string>
#include <vector>

#include "tests/faults/scenario.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<std::string> kill_points_of(Guarantee guarantee) {
  std::vector<std::string> points{"before_start_commit", "before_produce", "after_produce",
                                  "before_offsets",      "after_offsets",  "before_checkpoint",
                                  "after_checkpoint",    "during_restore"};
  if (guarantee == Guarantee::kExactlyOnce) {
    points.insert(points.end(), {"before_commit", "after_commit"});
  }
  return points;
}
// A session is over after 6 s, a transaction after 10 s.
constexpr milliseconds kPastSession{8'000};
constexpr milliseconds kPastTransaction{14'000};

void start_all(Job& job, int workers) {
  for (int i = 1; i <= workers; ++i) job.start(i);
  for (int i = 1; i <= workers; ++i) job.await_running(i);
  job.require_progress();
}

// F1: at moments that nothing but the seed decides.
void random_kills(Job& job) {
  constexpr int kWorkers = 3;
  constexpr int kKills = 6;
  start_all(job, kWorkers);
  for (int i = 0; i < kKills; ++i) {
    job.last_for(milliseconds{job.random(1'500)});
    const int worker = 1 + job.random(kWorkers);
    job.kill(worker);
    if (job.random(3) == 0) job.wipe(worker);
    job.start(worker);
    if (i % 2 == 1) job.require_progress();
  }
  job.check();
  job.finish();
}

// F1: at each kill point with much in hand, while another worker goes on. The next start dies too,
// when it has committed a part of that: what the first left in the changelogs must not count.
void kill_points(Job& job) {
  // A worker has six tasks at most, whose starts pass most points once.
  constexpr int kTasks = 6;
  start_all(job, 2);
  for (const std::string& point : kill_points_of(job.guarantee())) {
    job.kill(1);
    const bool of_starts = point == "before_start_commit" || point == "during_restore";
    const int passing = 1 + job.random(3) + (of_starts ? 0 : kTasks);
    job.start(1, {{"MILLRACE_TEST_KILL_POINT", point + ":" + std::to_string(passing)},
                  {"MILLRACE_COMMIT_INTERVAL_MS", "700"}});
    job.expect_killed(1);
    if (job.random(3) == 0) job.wipe(1);
    job.start(1, {{"MILLRACE_TEST_KILL_POINT",
                   "after_offsets:" + std::to_string(kTasks + 1 + job.random(4))},
                  {"MILLRACE_COMMIT_INTERVAL_MS", "1"},
                  {"MILLRACE_BATCH_RECORDS_MAX", "8"}});
    job.expect_killed(1);
    if (job.random(2) == 0) job.wipe(1);
    job.start(1);
    job.await_running(1);
    job.check();
  }
  job.require_progress();
  job.finish();
}

// F1: workers die while the broker lacks what they have written to the changelogs, though all else
// has got there: nothing that rests on it may be committed.
void changes_lost(Job& job) {
  constexpr int kRounds = 2;
  auto& proxy = job.cluster().proxy();
  start_all(job, 2);
  for (int i = 0; i < kRounds; ++i) {
    proxy.add({.api = Api::kProduce,
               .harm = Harm::kDropRequest,
               .after = job.random(4),
               .mentions = "-changelog"});
    job.last_for(milliseconds{500 + job.random(1'000)});
    for (const int worker : {1, 2}) job.kill(worker);
    proxy.heal();
    if (job.random(2) == 0) job.wipe(1 + job.random(2));
    job.check();
    for (const int worker : {1, 2}) job.start(worker);
    job.require_progress();
  }
  job.finish();
}

// Worker 1 stands still until others have committed in its place, and then goes on.
void wake_as_zombie(Job& job) {
  job.last_for(kPastSession);
  job.require_progress();
  job.thaw(1);
  job.require_progress();
  job.check();
  job.finish();
}

// F3 at its worst moments: a worker stops between two steps of a commit, others take over and
// commit, and it goes on with the next step.
void zombie_at(Job& job, const std::string& point) {
  start_all(job, 2);
  job.kill(1);
  job.start(1, {{"MILLRACE_TEST_KILL_POINT", point + ":40:stop"}});
  job.require(job.process(1).wait_for_log("kill point ", seconds{60}), "I9",
              "worker 1 does not come to " + point);
  job.fault("worker 1 stops at " + point);
  wake_as_zombie(job);
}

// Worker 1 comes to its kill point when it is to hand partitions over to worker 2.
void begin_handover(Job& job, const std::string& kill_point) {
  job.start(1, {{"MILLRACE_TEST_KILL_POINT", kill_point}});
  job.await_running(1);
  job.require_progress();
  job.start(2);
  job.require(job.process(1).wait_for_log("kill point ", seconds{60}), "I9",
              "worker 1 has nothing to hand over");
}

// F3: a static member stands still while it hands partitions over. The group gives all of them to
// the other one, and then takes the zombie back with what it believes to own.
void zombie_in_revocation(Job& job) {
  begin_handover(job, "before_revoke_answer:1:stop");
  job.fault("worker 1 stops before it answers a revocation");
  wake_as_zombie(job);
}

// F1: a static member ends before it has handed over what it was told to, and is back before it is
// missed: it is given what it was to keep, without a rebalance, and the rest is nobody's.
void killed_in_revocation(Job& job) {
  begin_handover(job, "before_revoke_answer");
  job.expect_killed(1);
  job.start(1);
  job.require_progress();
  job.check();
  job.finish();
}

// F3: the group takes a static member for another one while it hands partitions over, of which
// librdkafka says nothing. It can know of no partition any more whether it has it.
void replaced_in_revocation(Job& job) {
  auto& proxy = job.cluster().proxy();
  begin_handover(job, "before_revoke_answer:1:hold");
  const auto before = proxy.injected();
  proxy.add({.api = Api::kHeartbeat, .harm = Harm::kUnknown, .mentions = "worker-1"});
  // It sends the second one after it has had the answer to the first.
  job.require(wait_until([&] { return proxy.injected() > before + 1; }, seconds{60}), "harness",
              "worker 1 sends no heartbeats while it hands partitions over");
  job.process(1).signal(SIGUSR1);
  job.require(job.process(1).wait_for_log("was replaced while it handed over", seconds{60}), "I8",
              "worker 1 does not notice that it was replaced");
  proxy.heal();
  job.require_progress();
  job.check();
  job.finish();
}

// F2: everybody at once; then with nothing left on any disk.
void all_killed(Job& job) {
  start_all(job, 2);
  for (const bool wiped : {false, true}) {
    job.last_for(milliseconds{500 + job.random(1'000)});
    for (const int worker : {1, 2}) job.kill(worker);
    if (wiped) {
      for (const int worker : {1, 2}) job.wipe(worker);
    }
    for (const int worker : {1, 2}) job.start(worker);
    job.require_progress();
    job.check();
  }
  job.finish();
}

// F3, F4.
void frozen_for(Job& job, milliseconds time) {
  start_all(job, 2);
  job.freeze(1);
  job.last_for(time);
  job.require_progress();
  job.thaw(1);
  // It has lost everything and comes back as a member like any other.
  job.require(job.process(1).wait_for_log("lost ", seconds{30}), "I8",
              "worker 1 does not notice that it was replaced");
  job.require_progress();
  job.check();
  job.finish();
}

}  // namespace

std::vector<Scenario> crash_scenarios() {
  return {
      {"f1-random-kills", true, "", random_kills},
      // KS-5; KF-37: under exactly-once, between its changes and their commit too.
      {"f1-kill-points", true, "", kill_points},
      {"f1-changes-lost", true, "", changes_lost},
      {"f1-killed-in-revocation", true, "", killed_in_revocation},
      {"f2-all-killed", true, "", all_killed},
      {"f3-zombie", true, "", [](Job& job) { frozen_for(job, kPastSession); }},
      {"f3-zombie-before-produce", false, "", [](Job& job) { zombie_at(job, "before_produce"); }},
      {"f3-zombie-after-produce", false, "", [](Job& job) { zombie_at(job, "after_produce"); }},
      {"f3-zombie-before-offsets", true, "", [](Job& job) { zombie_at(job, "before_offsets"); }},
      {"f3-zombie-before-checkpoint", false, "",
       [](Job& job) { zombie_at(job, "before_checkpoint"); }},
      {"f3-zombie-in-revocation", true, "", zombie_in_revocation},
      {"f3-replaced-in-revocation", true, "", replaced_in_revocation},
      {"f4-frozen-past-transaction", false, "",
       [](Job& job) { frozen_for(job, kPastTransaction); }},
  };
}

}  // namespace millrace::testing
