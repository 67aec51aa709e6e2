// SPDX-License-Identifier: Apache-2.0
//
// README.md F5, F6, F11, F18: who is a member of the group, and who may be.
#include "tests/faults/scenario.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Members without a name of their own leave the group when they stop.
const Environment kDynamic{{"MILLRACE_GROUP_INSTANCE_ID", ""}};

// F5: the younger one has the partitions, the older one says why it ends.
void same_instance_id(Job& job) {
  job.start(1);
  job.await_running(1);
  job.require_progress();
  job.fault("a second worker with the instance id of the first");
  job.start(2, {{"MILLRACE_GROUP_INSTANCE_ID", "worker-1"}});
  job.expect_end(1, 1, "fenced");
  job.require_progress();
  job.check();
  job.finish();
}

// F6
void rolling_restart(Job& job) {
  for (const int worker : {1, 2, 3}) job.start(worker);
  for (const int worker : {1, 2, 3}) job.await_running(worker);
  for (const int worker : {1, 2, 3}) {
    job.fault("restart of worker " + std::to_string(worker));
    job.stop(worker);
    job.start(worker);
    job.await_running(worker);
    job.require_progress();
  }
  job.check();
  job.finish();
}

// F6
void scale(Job& job) {
  job.start(1, kDynamic);
  job.await_running(1);
  for (const int worker : {2, 3}) {
    job.fault("worker " + std::to_string(worker) + " joins");
    job.start(worker, kDynamic);
    job.await_running(worker);
    job.require_progress();
  }
  for (const int worker : {3, 1}) {
    job.fault("worker " + std::to_string(worker) + " leaves");
    job.stop(worker);
    job.require_progress();
  }
  job.check();
  job.finish();
}

// F11: somebody joins, leaves or dies all the time; the first one stays.
void storm(Job& job) {
  constexpr int kRounds = 12;
  constexpr milliseconds kBetween{2'000};
  job.start(1, kDynamic);
  job.await_running(1);
  std::map<int, bool> there;
  for (int i = 0; i < kRounds; ++i) {
    const int worker = 2 + job.random(2);
    if (!there[worker]) {
      job.fault("worker " + std::to_string(worker) + " joins");
      job.start(worker, kDynamic);
    } else if (job.random(2) == 0) {
      job.fault("worker " + std::to_string(worker) + " leaves");
      job.stop(worker);
    } else {
      job.kill(worker);
    }
    there[worker] = !there[worker];
    job.last_for(kBetween);
  }
  job.require_progress();
  job.check();
  job.finish();
}

// F18: a disk belongs to one process.
void same_state_dir(Job& job) {
  job.start(1);
  job.await_running(1);
  job.fault("a second worker on the disk of the first");
  job.start(2, {{"MILLRACE_STATE_DIR", job.state_dir(1).string()}});
  job.expect_end(2, 1, "in use");
  job.require_progress();
  job.finish();
}

}  // namespace

std::vector<Scenario> membership_scenarios() {
  return {
      {"f5-same-instance-id", true, "", same_instance_id},
      {"f6-rolling-restart", true, "", rolling_restart},
      {"f6-scale", true, "", scale},
      {"f11-rebalance-storm", false, "", storm},
      {"f18-same-state-dir", true, "count", same_state_dir},
  };
}

}  // namespace millrace::testing
