// SPDX-License-Identifier: Apache-2.0
//
// What operators and dashboards ask of a running process, over HTTP.
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/integration/count_job.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

BOOST_AUTO_TEST_SUITE(http)

// KF-33, KF-34, SS-24
BOOST_AUTO_TEST_CASE(a_running_process_answers_for_health_metrics_status_topology_and_stores) {
  CountJob job{4};
  job.produce(4'000, 400);
  auto process = job.start("one", {{"MILLRACE_CHECKPOINT_INTERVAL_MS", "100"}});
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_REQUIRE(wait_until([&] { return process->get("/readyz").status == 200; }, seconds{30}));
  BOOST_TEST(process->get("/livez").status == 200);
  BOOST_TEST(process->get("/startupz").status == 200);

  const auto topology = process->get("/topology");
  BOOST_TEST(topology.status == 200);
  BOOST_TEST(topology.body.find(job.input) != std::string::npos, topology.body);
  BOOST_TEST(topology.body.find("counts") != std::string::npos, topology.body);

  const auto found = process->get("/stores/counts/key-7");
  BOOST_TEST(found.status == 200);
  const auto entry = nlohmann::json::parse(found.body);
  BOOST_TEST(entry["value"] == 10);
  BOOST_TEST(entry["key"] == "key-7");
  BOOST_TEST(entry["store"] == "counts");
  // a2V5LTc= is key-7.
  BOOST_TEST(nlohmann::json::parse(
                 process->get("/stores/counts?key=base64:a2V5LTc=").body)["value"] == 10);
  BOOST_TEST(process->get("/stores/counts?key=key-7").status == 200);
  BOOST_TEST(process->get("/stores/counts/absent").status == 404);
  BOOST_TEST(process->get("/stores/no-such-store/key-7").status == 404);
  BOOST_TEST(process->get("/stores/counts").status == 400);
  BOOST_TEST(process->get("/nothing").status == 404);

  // Figures are published once a second.
  BOOST_TEST(wait_until(
      [&] {
        const auto status = nlohmann::json::parse(process->get("/status").body);
        std::int64_t committed = 0;
        for (const auto& task : status["tasks"]) {
          for (const auto& input : task["inputs"]) {
            committed += input["committed"].get<std::int64_t>();
            if (input["lag"].is_null() || input["lag"] != 0) return false;
          }
        }
        return committed == 4'000;
      },
      seconds{20}));
  const auto status = nlohmann::json::parse(process->get("/status").body);
  BOOST_TEST(status["application_id"] == job.application);
  BOOST_TEST(status["state"] == "RUNNING");
  BOOST_TEST(status["assignment"].size() == 4U);
  BOOST_TEST(status["tasks"].size() == 4U);
  for (const auto& task : status["tasks"]) {
    BOOST_TEST(task["state"] == "RUNNING");
    BOOST_TEST(task["stores"][0]["name"] == "counts");
    BOOST_TEST(task["stores"][0]["engine"] == "rocksdb");
    BOOST_TEST(task["stores"][0]["restore"]["remaining"] == 0);
  }

  const auto metrics = process->get("/metrics");
  BOOST_TEST(metrics.status == 200);
  BOOST_TEST(metric(metrics.body, "millrace_records_consumed_total").value_or(0) == 4'000);
  for (const std::string name :
       {"millrace_records_produced_total", "millrace_records_dropped_total",
        "millrace_task_gap_seconds", "millrace_commits_total", "millrace_rebalances_total",
        "millrace_tasks", "process_resident_memory_bytes", "process_open_fds",
        "process_cpu_seconds_total"}) {
    BOOST_TEST(metric(metrics.body, name).has_value(), name);
  }
  const auto file = job.folder() / "metrics.txt";
  std::ofstream{file} << metrics.body;
  const std::string command =
      "promtool check metrics <" + file.string() + " >" + file.string() + ".check 2>&1";
  const int verdict = std::system(command.c_str());
  std::ifstream said{file.string() + ".check"};
  BOOST_TEST(verdict == 0, std::string(std::istreambuf_iterator<char>{said}, {}));
  BOOST_TEST(process->stop().value_or(-1) == 0);
}

// KF-33, SS-24, KS-18: while a store is restored, the process is alive but not ready and answers
// 503.
BOOST_AUTO_TEST_CASE(a_restoring_process_is_alive_but_not_ready) {
  CountJob job{1};
  job.produce(400'000, 400'000);
  auto process = job.start("one");
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_REQUIRE(process->stop().value_or(-1) == 0);
  job.wipe("one");
  process = job.start("one");
  const auto port = process->http_port();
  bool alive = true;
  bool seen_not_ready = false;
  const auto look = [&] {
    HttpClient client{port};
    alive = alive && client.get("/livez").status == 200;
    const bool ready = client.get("/readyz").status == 200;
    const auto answer = client.get("/stores/counts/key-1");
    if (!ready && answer.status == 503) seen_not_ready = true;
    return ready;
  };
  BOOST_REQUIRE(wait_until(look, seconds{60}));
  BOOST_TEST(alive);
  BOOST_TEST(seen_not_ready);
  BOOST_TEST(nlohmann::json::parse(process->get("/stores/counts/key-1").body)["value"] == 1);
  BOOST_TEST(replayed_records(process->log()) >= 400'000);
  BOOST_TEST(process->stop().value_or(-1) == 0);
}

BOOST_AUTO_TEST_CASE(a_taken_port_is_a_configuration_error_that_names_the_setting) {
  CountJob job{1};
  auto first = job.start("one");
  const auto port = first->http_port();
  auto second = job.start("two", {{"MILLRACE_HTTP", std::to_string(port)}});
  BOOST_TEST(second->wait(seconds{30}).value_or(-1) == 2);
  const std::string text = second->log();
  BOOST_TEST(text.find("http") != std::string::npos, text);
  BOOST_TEST(text.find(std::to_string(port)) != std::string::npos, text);
  BOOST_TEST(first->get("/livez").status == 200);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
