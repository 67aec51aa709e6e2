// SPDX-License-Identifier: Apache-2.0
//
// A broker that is not there: at the start, and for half a minute in the run. Each case has its
// own.
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <future>
#include <iostream>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

constexpr seconds kOutage{30};

BOOST_AUTO_TEST_SUITE(broker)

// KF-20, faults.md F7, F8: stopped and started, frozen and thawed; then gone at the start of a
// process.
BOOST_AUTO_TEST_CASE(outages_of_the_broker_cost_time_and_nothing_else) {
  OwnBroker broker;
  CountJob job{4, broker.address()};
  const Environment settings{{"MILLRACE_CHECKPOINT_INTERVAL_MS", "1000"}};
  auto process = job.start("one", settings);
  BOOST_REQUIRE(process->wait_for_log("-> RUNNING", seconds{30}));
  const auto alive = [&] { return process->running() && process->get("/livez").status == 200; };

  const auto exact = [&] {
    BOOST_TEST(job.wait_until_processed(seconds{90}), *process);
    BOOST_TEST(job.error_in_output() == "");
    BOOST_TEST(job.error_in_changelog() == "");
  };

  // Frozen: connections stay open and nothing answers.
  job.produce(40'000, 4'000);
  ::kill(broker.pid(), SIGSTOP);
  const auto frozen_until = std::chrono::steady_clock::now() + kOutage;
  BOOST_TEST(
      !wait_until([&] { return !alive() || std::chrono::steady_clock::now() > frozen_until; },
                  kOutage - seconds{1}));
  ::kill(broker.pid(), SIGCONT);
  job.produce(10'000, 4'000);
  exact();
  BOOST_TEST(wait_until([&] { return process->get("/readyz").status == 200; }, seconds{60}));

  // Stopped with work in hand.
  job.produce(40'000, 4'000);
  broker.run("stop");
  BOOST_TEST(!wait_until([&] { return !alive(); }, seconds{10}));
  // KF-20: a process that starts meanwhile waits for the broker.
  auto late = job.start("late", settings);
  BOOST_TEST(late->wait_for_log("no broker answers", seconds{20}), *late);
  broker.run("start");
  job.produce(10'000, 4'000);
  BOOST_TEST(late->wait_for_log("-> RUNNING", seconds{60}), *late);
  exact();

  // Killed while records flow, and back.
  broker.run("kill");
  BOOST_TEST(!wait_until([&] { return !alive() || !late->running(); }, seconds{5}));
  broker.run("start");
  job.produce(10'000, 4'000);
  exact();
  BOOST_TEST(wait_until(
      [&] { return process->get("/readyz").status == 200 && late->get("/readyz").status == 200; },
      seconds{60}));
  BOOST_TEST(process->stop().value_or(-1) == 0);
  BOOST_TEST(late->stop().value_or(-1) == 0);
  BOOST_TEST(job.error_in_output() == "");
  BOOST_TEST(job.error_in_changelog() == "");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
