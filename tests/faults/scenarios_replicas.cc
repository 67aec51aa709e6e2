// SPDX-License-Identifier: Apache-2.0
//
// README.md F12: three brokers, of which one goes away with the only complete copy.
#include "tests/faults/scenario.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

constexpr int kBrokers = 3;
// A broker that was killed is away for its session of 9 s, and its partitions have no leader so
// long. One that is back reads what it has missed.
constexpr seconds kBack{90};

// A change of leaders is seen when metadata is fetched again, at the latest.
const Environment kCurious{{"MILLRACE_KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS", "2000"}};

void broker(Job& job, int number, const std::string& verb) {
  const auto what = "broker " + std::to_string(number) + ": " + verb;
  verb == "start" ? job.log(what) : job.fault(what);
  job.cluster().broker(number).run(verb);
}

// F12: the only complete copy goes away, one that lacks the newest records takes its place, and
// what was committed is there no more. The worker must not go on as if nothing were missing.
void truncated(Job& job, const std::string& topic) {
  constexpr int kBurst = 10'000;
  auto settings = kCurious;
  settings.emplace("MILLRACE_TASK_RESTART_LIMIT", "2");
  job.start(1, settings);
  job.await_running(1);
  job.require_progress();
  const auto place = [&] { return job.kafka().places(topic).at(0); };
  const auto before = place();
  const int leader = before.leader;
  const int other = before.replicas.at(0) == leader ? before.replicas.at(1) : before.replicas.at(0);
  broker(job, other, "stop");
  job.require(wait_until([&] { return place().in_sync.size() == 1; }, kBack), "harness",
              "broker " + std::to_string(leader) + " does not go on alone");
  job.burst(kBurst);
  job.require_progress(kBack);
  job.stop_traffic();
  job.require_progress(kBack);
  broker(job, leader, "kill");
  broker(job, other, "start");
  job.require(wait_until([&] { return place().leader == other; }, kBack), "harness",
              "broker " + std::to_string(other) + " does not become the leader of " + topic);
  // A changelog is looked at when something is written to it.
  if (topic != job.workload().sources.front()) job.burst(kBurst);
  job.expect_end(1, 1, topic);
  broker(job, leader, "start");
}

}  // namespace

std::vector<Scenario> replica_scenarios() {
  using enum Job::Fragile;
  return {
      {"f12-input-truncated", false, "count",
       [](Job& job) { truncated(job, job.workload().sources.front()); }, kBrokers, kSources},
      {"f12-changelog-truncated", false, "count",
       [](Job& job) { truncated(job, job.workload().stages.front().changelog); }, kBrokers,
       kChangelogs},
  };
}

}  // namespace millrace::testing
