// SPDX-License-Identifier: Apache-2.0
//
// kill -9, SIGSTOP and SIGTERM of whole processes on a real broker: counts are exact each time, not
// merely not too low.
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <iostream>
#include <random>

#include "tests/integration/count_job.h"
#include "tests/support/seed.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::uint64_t a_seed() {
  const auto seed = asked_seed().value_or(std::random_device{}());
  std::cerr << boost::unit_test::framework::current_test_case().p_name
            << ": MILLRACE_TEST_SEED=" << seed << '\n';
  return seed;
}

void require_exact(CountJob& job, seconds timeout = seconds{60}) {
  BOOST_REQUIRE(job.wait_until_processed(timeout));
  BOOST_TEST(job.error_in_output() == "");
  BOOST_TEST(job.error_in_changelog() == "");
}

// The sum of what /stores/counts/KEY says for every key of a sample, asked of whoever owns it.
void require_stores_exact(const CountJob& job, const std::vector<Process*>& processes,
                          std::int64_t step) {
  std::int64_t asked = 0;
  for (const auto& [key, count] : job.expected) {
    if (asked++ % step != 0) continue;
    bool answered = false;
    for (Process* process : processes) {
      const auto answer = process->get("/stores/counts/" + key);
      if (answer.status == 503) continue;
      answered = true;
      BOOST_TEST_REQUIRE(answer.status == 200);
      BOOST_TEST(answer.body.find("\"value\":" + std::to_string(count) + "}") != std::string::npos,
                 answer.body);
    }
    BOOST_TEST(answered, key << " is served by nobody");
  }
}

BOOST_AUTO_TEST_SUITE(crash)

// The scenario of the issue: KS-5's state part, KS-6, KF-29.
BOOST_AUTO_TEST_CASE(two_processes_one_killed_in_mid_run_count_exactly) {
  CountJob job{8};
  Traffic traffic{job, 25'000, 20'000};
  auto first = job.start("first");
  BOOST_REQUIRE(first->wait_for_log("-> RUNNING", seconds{30}));
  auto second = job.start("second");
  BOOST_REQUIRE(second->wait_for_log("-> RUNNING", seconds{30}));
  BOOST_REQUIRE(wait_until(
      [&] {
        return metric(second->get("/metrics").body, "millrace_records_consumed_total").value_or(0) >
               20'000;
      },
      seconds{30}));
  first->kill();
  first = job.start("first");
  BOOST_REQUIRE(first->wait_for_log("state RESTORING -> RUNNING", seconds{60}));
  BOOST_REQUIRE(wait_until(
      [&] {
        return metric(first->get("/metrics").body, "millrace_records_consumed_total").value_or(0) >
               20'000;
      },
      seconds{60}));
  std::cerr << traffic.stop() << " records\n";
  require_exact(job);
  require_stores_exact(job, {first.get(), second.get()}, 100);

  // Timing is for people to look at: of the survivor's partitions some were handed over.
  std::istringstream lines{second->get("/metrics").body};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("millrace_task_gap_seconds")) std::cerr << "survivor " << line << '\n';
  }
  BOOST_TEST(first->stop().value_or(-1) == 0);
  BOOST_TEST(second->stop().value_or(-1) == 0);
  require_exact(job, seconds{1});
}

// KS-7's state part, KF-29: at random moments, the disk kept and the disk deleted in turn.
BOOST_AUTO_TEST_CASE(kill_at_random_moments_keeps_counts_exact) {
  constexpr int kKills = 10;
  std::mt19937_64 random{a_seed()};
  CountJob job{4};
  // A static member comes back at once, without the wait for its old session.
  const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "one"},
                             {"MILLRACE_COMMIT_INTERVAL_MS", "50"},
                             {"MILLRACE_CHECKPOINT_INTERVAL_MS", "300"}};
  Traffic traffic{job, 10'000, 5'000};
  for (int i = 0; i < kKills; ++i) {
    auto process = job.start("one", settings);
    BOOST_TEST_REQUIRE(process->wait_for_log("-> RUNNING", seconds{30}), *process);
    let_pass(milliseconds{std::uniform_int_distribution{0, 1'500}(random)});
    BOOST_TEST_REQUIRE(process->running(), *process);
    process->kill();
    if (i % 2 == 1) job.wipe("one");
  }
  traffic.stop();
  auto process = job.start("one", settings);
  require_exact(job);
  require_stores_exact(job, {process.get()}, 50);
  BOOST_TEST(process->stop().value_or(-1) == 0);
}

BOOST_AUTO_TEST_CASE(a_start_says_that_it_waits_for_the_session_of_a_killed_process) {
  CountJob job{2};
  // Well above the time after which a join is called long.
  const Environment settings{{"MILLRACE_KAFKA_SESSION_TIMEOUT_MS", "15000"}};
  auto killed = job.start("killed", settings);
  BOOST_TEST_REQUIRE(killed->wait_for_log("-> RUNNING", seconds{30}), *killed);
  killed->kill();
  auto next = job.start("next", settings);
  BOOST_TEST_REQUIRE(next->wait_for_log("-> RUNNING", seconds{60}), *next);
  BOOST_TEST(occurrences(next->log(), "still joining the group") == 1U, *next);
  BOOST_TEST(next->log().find("kafka.session.timeout.ms, 15000 here") != std::string::npos, *next);
  BOOST_TEST(next->stop().value_or(-1) == 0);
}

// durability.md B1: the changelog holds records before the group has an offset for them.
BOOST_AUTO_TEST_CASE(kill_during_the_very_first_commit_counts_nothing_twice) {
  constexpr int kRounds = 4;
  for (int i = 0; i < kRounds; ++i) {
    CountJob job{2};
    job.produce(20'000, 2'000);
    const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "one"},
                               {"MILLRACE_COMMIT_INTERVAL_MS", i % 2 == 0 ? "5" : "100"}};
    auto process = job.start("one", settings);
    BOOST_REQUIRE(wait_until(
        [&] {
          if (job.kafka.partitions(job.changelog) == 0) return false;
          const auto ends = job.kafka.ends(job.changelog);
          return ends[0].high + ends[1].high > 0;
        },
        seconds{30}));
    process->kill();
    if (i >= kRounds / 2) job.wipe("one");
    process = job.start("one", settings);
    require_exact(job);
    BOOST_TEST(process->stop().value_or(-1) == 0);
  }
}

// KF-29, KF-6: an orderly stop leaves nothing to do again.
BOOST_AUTO_TEST_CASE(sigterm_commits_all_and_the_next_start_replays_nothing) {
  CountJob job{4};
  job.produce(20'000, 1'000);
  // One commit at the stop must do what the interval would not have done for a minute.
  const Environment settings{{"MILLRACE_COMMIT_INTERVAL_MS", "60000"}};
  auto process = job.start("one", settings);
  BOOST_REQUIRE(wait_until(
      [&] {
        return metric(process->get("/metrics").body, "millrace_records_consumed_total")
                   .value_or(0) >= 20'000;
      },
      seconds{30}));
  BOOST_TEST(!job.processed());
  const auto began = std::chrono::steady_clock::now();
  BOOST_TEST(process->stop().value_or(-1) == 0);
  std::cerr << "stopped in "
            << std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()
            << " s\n";
  BOOST_TEST(job.processed());
  require_exact(job, seconds{1});

  process = job.start("one", settings);
  BOOST_REQUIRE(wait_until([&] { return process->get("/readyz").status == 200; }, seconds{30}));
  BOOST_REQUIRE(wait_until(
      [&] { return occurrences(process->log(), "store counts restored") == 4; }, seconds{30}));
  BOOST_TEST(replayed_records(process->log()) == 0);
  require_stores_exact(job, {process.get()}, 100);
  BOOST_TEST(process->stop().value_or(-1) == 0);
}

BOOST_AUTO_TEST_CASE(members_join_and_leave_while_records_flow_and_counts_are_exact) {
  CountJob job{8};
  Traffic traffic{job, 10'000, 5'000};
  auto first = job.start("first");
  BOOST_REQUIRE(first->wait_for_log("-> RUNNING", seconds{30}));
  for (int i = 0; i < 2; ++i) {
    auto second = job.start("second");
    BOOST_REQUIRE(second->wait_for_log("-> RUNNING", seconds{30}));
    auto third = job.start("third");
    BOOST_REQUIRE(third->wait_for_log("-> RUNNING", seconds{30}));
    BOOST_TEST(second->stop().value_or(-1) == 0);
    BOOST_TEST(third->stop().value_or(-1) == 0);
  }
  traffic.stop();
  require_exact(job);
  require_stores_exact(job, {first.get()}, 100);
  BOOST_TEST(first->stop().value_or(-1) == 0);
}

// A second process with the same instance id takes over; the first says why it ends, and ends.
BOOST_AUTO_TEST_CASE(a_duplicate_instance_id_ends_the_older_process) {
  CountJob job{4};
  const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "same"}};
  Traffic traffic{job, 5'000, 2'000};
  auto older = job.start("older", settings);
  BOOST_REQUIRE(older->wait_for_log("state RESTORING -> RUNNING", seconds{30}));
  auto newer = job.start("newer", settings);
  BOOST_TEST(older->wait(seconds{40}).value_or(-1) == 1);
  BOOST_TEST(older->log().find("fenced") != std::string::npos, *older);
  traffic.stop();
  require_exact(job);
  BOOST_TEST(newer->stop().value_or(-1) == 0);
}

// librdkafka issue 4312: the group waits for a dead leader while this member is stopped.
BOOST_AUTO_TEST_CASE(a_stop_before_the_first_assignment_is_orderly) {
  CountJob job{2};
  BOOST_REQUIRE(job.start("first")->wait_for_log("state RESTORING -> RUNNING", seconds{30}));
  for (const int after_ms : {100, 2'000}) {
    {
      auto dead = job.start("second");
      BOOST_REQUIRE(dead->wait_for_log("REBALANCING", seconds{30}));
      let_pass(milliseconds{2'000});
    }
    auto process = job.start("third");
    BOOST_REQUIRE(process->wait_for_log("REBALANCING", seconds{30}));
    let_pass(milliseconds{after_ms});
    BOOST_TEST(process->stop().value_or(-1) == 0, *process);
  }
}

// KS-17, faults.md F3: a worker stopped past its session time-out wakes up as a zombie.
BOOST_AUTO_TEST_CASE(a_zombie_is_fenced_and_counts_stay_exact) {
  constexpr std::int64_t kKeys = 5'000;
  CountJob job{4};
  Traffic traffic{job, 10'000, kKeys};
  auto zombie = job.start("zombie");
  BOOST_REQUIRE(zombie->wait_for_log("-> RUNNING", seconds{30}));
  auto other = job.start("other");
  BOOST_REQUIRE(other->wait_for_log("-> RUNNING", seconds{30}));
  BOOST_REQUIRE(wait_until(
      [&] {
        return metric(zombie->get("/metrics").body, "millrace_commits_total").value_or(0) > 4;
      },
      seconds{30}));
  zombie->signal(SIGSTOP);
  // The other has all four partitions, and has committed for them, when the zombie wakes.
  BOOST_REQUIRE(wait_until(
      [&] {
        return metric(other->get("/metrics").body, "millrace_tasks{state=\"RUNNING\"}")
                       .value_or(0) >= 0 &&
               other->get("/metrics").body.find("millrace_tasks{state=\"RUNNING\"} 4") !=
                   std::string::npos;
      },
      seconds{40}));
  let_pass(milliseconds{1'000});
  zombie->signal(SIGCONT);
  BOOST_TEST(zombie->wait_for_log("lost ", seconds{30}), *zombie);
  // It comes back as a member like any other.
  BOOST_TEST(wait_until(
                 [&] {
                   const std::string log = zombie->log();
                   return log.find("-> RUNNING", log.find("lost ")) != std::string::npos;
                 },
                 seconds{30}),
             *zombie);
  BOOST_TEST(wait_until([&] { return zombie->get("/readyz").status == 200; }, seconds{30}),
             *zombie);
  traffic.stop();
  // What it had queued when it was stopped is written when it wakes, and is the newest of its keys
  // until their next record: here it is.
  job.produce(kKeys, kKeys);
  require_exact(job);
  require_stores_exact(job, {zombie.get(), other.get()}, 100);
  BOOST_TEST(zombie->stop().value_or(-1) == 0);
  BOOST_TEST(other->stop().value_or(-1) == 0);
  require_exact(job, seconds{1});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
