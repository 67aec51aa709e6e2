// SPDX-License-Identifier: Apache-2.0
//
// README.md F7, F12: three brokers, of which one or two go away while there are copies.
#include <algorithm>

#include "tests/faults/scenario.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
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

// All copies of all topics are complete, those of offsets and transactions too.
void await_in_sync(Job& job) {
  auto topics = job.workload().topics;
  for (const auto& stage : job.workload().stages) topics.push_back(stage.changelog);
  topics.emplace_back("__consumer_offsets");
  if (job.guarantee() == Guarantee::kExactlyOnce) topics.emplace_back("__transaction_state");
  const auto complete = [&](const std::string& topic) {
    const auto places = job.kafka().places(topic);
    return !places.empty() && std::all_of(places.begin(), places.end(), [](const auto& place) {
      return place.leader > 0 && place.in_sync.size() == place.replicas.size();
    });
  };
  std::string behind;
  const bool complete_all = wait_until(
      [&] {
        const auto at = std::find_if_not(topics.begin(), topics.end(), complete);
        behind = at == topics.end() ? "" : *at;
        return behind.empty();
      },
      kBack);
  job.require(complete_all, "harness", "the copies of " + behind + " do not become complete");
}

// F7: one broker after the other, as in an upgrade, under load.
void rolling(Job& job) {
  job.start_two(kCurious);
  for (int number = 1; number <= kBrokers; ++number) {
    broker(job, number, "stop");
    job.require_progress(kBack);
    broker(job, number, "start");
    await_in_sync(job);
    job.require_progress(kBack);
    job.check();
  }
  job.finish();
}

// F12 without a loss: the leaders of all kinds of partitions die, others go on from their copies.
void leader_killed(Job& job) {
  constexpr int kRounds = 2;
  job.start_two(kCurious);
  for (int i = 0; i < kRounds; ++i) {
    const auto places =
        job.kafka().places(i == 0 ? "__consumer_offsets" : job.workload().stages.front().changelog);
    const int leader =
        places.at(static_cast<std::size_t>(job.random(static_cast<int>(places.size())))).leader;
    broker(job, leader, "kill");
    job.require_progress(kBack);
    job.check();
    broker(job, leader, "start");
    await_in_sync(job);
  }
  job.require_progress(kBack);
  job.finish();
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
      {"f7-brokers-rolling", false, "", rolling, kBrokers},
      {"f12-leader-killed", false, "", leader_killed, kBrokers},
      {"f12-input-truncated", false, "count",
       [](Job& job) { truncated(job, job.workload().sources.front()); }, kBrokers, kSources},
      {"f12-changelog-truncated", false, "count",
       [](Job& job) { truncated(job, job.workload().stages.front().changelog); }, kBrokers,
       kChangelogs},
  };
}

}  // namespace millrace::testing
