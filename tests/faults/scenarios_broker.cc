// SPDX-License-Identifier: Apache-2.0
//
// README.md F7, F8, F13: the broker goes away, or its topics are not what they were.
#include "tests/faults/scenario.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A broker that was killed needs about 15 s to come back.
constexpr seconds kBack{90};

// A change of a topic is seen when metadata is fetched again, by default each 5 minutes.
const Environment kCurious{{"MILLRACE_KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS", "2000"}};

void broker(Job& job, const std::string& verb) {
  job.fault("broker: " + verb);
  job.cluster().broker().run(verb);
}

void broker_back(Job& job) {
  job.log("broker: start");
  job.cluster().broker().run("start");
}

// F7: `verb` in mid-run.
void bounce(Job& job, const std::string& verb, milliseconds down) {
  job.start_two(kCurious);
  broker(job, verb);
  job.last_for(down);
  broker_back(job);
  job.require_progress(kBack);
  job.check();
  job.finish();
}

// F7: the group's coordinator moves while the membership client has no connection but the one to
// it. librdkafka then asks on that very connection for the new coordinator, closes it, and waits
// for the answer until socket.timeout.ms is over.
void coordinator_moved(Job& job) {
  constexpr seconds kFound{40};  // Before librdkafka's time-out of 60 s.
  const Environment idle{{"MILLRACE_KAFKA_CONNECTIONS_MAX_IDLE_MS", "1500"}};
  auto& proxy = job.cluster().proxy();
  job.start_two(idle);
  proxy.refuse(true);  // What is idle is closed, and does not come back.
  job.last_for(milliseconds{4'000});
  const auto before = proxy.injected();
  proxy.add({Api::kOffsetCommit, Harm::kMoved, 1, 0, 2});
  job.last_for(milliseconds{2'500});
  // Under exactly-once the producer commits, and only the lines are harmed.
  job.require(job.guarantee() == Guarantee::kExactlyOnce || proxy.injected() > before, "harness",
              "no OffsetCommit was sent to be answered with NOT_COORDINATOR");
  proxy.heal();
  job.require_progress(kFound);
  job.check();
  job.finish();
}

// F8: no broker at the start, and for a while in the run: nobody ends, nobody calls itself ready.
void down(Job& job) {
  constexpr milliseconds kDown{10'000};
  broker(job, "stop");
  job.start(1, kCurious);
  job.require(job.process(1).wait_for_log("no broker answers", seconds{60}), "I12",
              "worker 1 does not say that there is no broker");
  broker_back(job);
  job.await_running(1);
  job.require_progress(kBack);
  broker(job, "stop");
  job.last_for(kDown);
  job.start(2);
  job.require(job.process(2).wait_for_log("no broker answers", seconds{60}), "I12",
              "worker 2 does not say that there is no broker");
  broker_back(job);
  job.await_running(2);
  job.require_progress(kBack);
  job.check();
  job.finish();
}

void run_one(Job& job) {
  auto settings = kCurious;
  settings.emplace("MILLRACE_TASK_RESTART_LIMIT", "2");
  job.start(1, settings);
  job.await_running(1);
  job.require_progress();
}

// F13: what is committed can no longer be read on from. The task must not go on as if nothing were
// missing.
void retention(Job& job) {
  run_one(job);
  job.stop(1);
  job.last_for(milliseconds{1'000});
  job.stop_traffic();
  const auto& topic = job.workload().sources.front();
  job.fault("all records of " + topic + " are deleted, also those not yet processed");
  job.kafka().delete_records(topic);
  job.start(1, {{"MILLRACE_TASK_RESTART_LIMIT", "2"}});
  job.expect_end(1, 1, topic);
}

// F13
void topic_deleted(Job& job) {
  run_one(job);
  job.stop_traffic();
  const auto& topic = job.workload().sources.front();
  job.fault(topic + " is deleted");
  job.kafka().delete_topics({topic});
  job.expect_end(1, 1, topic);
}

// F13: keys would move to other partitions, away from their state.
void partitions_added(Job& job) {
  run_one(job);
  job.stop_traffic();
  const auto& topic = job.workload().sources.front();
  job.fault(topic + " gets more partitions");
  job.kafka().add_partitions(topic, job.kafka().partitions(topic) + 2);
  job.expect_end(1, 1, topic);
}

}  // namespace

std::vector<Scenario> broker_scenarios() {
  return {
      {"f7-broker-killed", true, "", [](Job& job) { bounce(job, "kill", milliseconds{0}); }},
      {"f7-broker-stopped", false, "", [](Job& job) { bounce(job, "stop", milliseconds{5'000}); }},
      {"f7-coordinator-moved", true, "", coordinator_moved},
      {"f8-broker-down", false, "", down},
      {"f13-retention", true, "count", retention},
      {"f13-topic-deleted", false, "count", topic_deleted},
      {"f13-partitions-added", true, "count", partitions_added},
  };
}

}  // namespace millrace::testing
