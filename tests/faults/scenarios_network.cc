// SPDX-License-Identifier: Apache-2.0
//
// README.md F9, F10: what the network does to connections, and to single requests.
#include "tests/faults/scenario.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Requests without an answer are given up sooner than after librdkafka's 60 s.
const Environment kImpatient{{"MILLRACE_KAFKA_SOCKET_TIMEOUT_MS", "4000"}};
// The same, and broken connections are not told of.
const Environment kQuiet{{"MILLRACE_KAFKA_SOCKET_TIMEOUT_MS", "4000"},
                         {"MILLRACE_KAFKA_LOG_CONNECTION_CLOSE", "false"}};
constexpr seconds kStruckMax{60};

// After a fault of the lines has lasted: it ends, and all goes on.
void endure(Job& job, milliseconds time) {
  job.last_for(time);
  job.cluster().proxy().heal();
  job.require_progress();
}

// F9
void refused(Job& job) {
  job.start_two(kImpatient);
  job.cluster().proxy().refuse(true);
  job.cluster().proxy().cut_all();
  endure(job, milliseconds{5'000});
  job.finish();
}

void cut(Job& job) {
  constexpr int kCuts = 5;
  job.start_two(kImpatient);
  for (int i = 0; i < kCuts; ++i) {
    job.last_for(milliseconds{job.random(1'500)});
    job.cluster().proxy().cut_all();
  }
  job.require_progress();
  job.check();
  // One of 20 answers breaks off in its middle.
  for (const auto api : {Api::kProduce, Api::kFetch, Api::kHeartbeat, Api::kOffsetCommit})
    job.cluster().proxy().add({api, Harm::kCutInMidResponse, 0.05});
  endure(job, milliseconds{6'000});
  job.check();
  job.finish();
}

void black_hole(Job& job) {
  job.start_two(kImpatient);
  job.cluster().proxy().black_hole(true);
  endure(job, milliseconds{3'000});
  // Longer than the session: both have lost everything when it ends.
  job.cluster().proxy().black_hole(true);
  endure(job, milliseconds{9'000});
  job.check();
  job.finish();
}

void slow(Job& job) {
  job.start_two(kImpatient);
  job.cluster().proxy().shape({milliseconds{500}, milliseconds{200}, 0});
  endure(job, milliseconds{8'000});
  job.cluster().proxy().shape({milliseconds{0}, milliseconds{0}, 10'000});
  endure(job, milliseconds{8'000});
  job.check();
  job.finish();
}

// The requests that make a commit, in the order in which they are sent.
std::vector<Api> commit_requests(const Job& job) {
  if (job.guarantee() == Guarantee::kAtLeastOnce) return {Api::kProduce, Api::kOffsetCommit};
  return {Api::kAddPartitionsToTxn, Api::kProduce, Api::kAddOffsetsToTxn, Api::kTxnOffsetCommit,
          Api::kEndTxn};
}

// F10: each request of a commit, harmed a few times in one way.
void commit_harmed(Job& job, Harm harm, milliseconds delay = {},
                   const Environment& settings = kImpatient) {
  constexpr int kTimes = 2;
  auto& proxy = job.cluster().proxy();
  job.start_two(settings);
  for (const auto api : commit_requests(job)) {
    const auto before = proxy.injected();
    proxy.add({api, harm, 1, job.random(4), kTimes, delay});
    job.require(wait_until([&] { return proxy.injected() >= before + kTimes; }, kStruckMax), "I9",
                to_string(api) + " was not sent often enough to be harmed");
    job.require_progress();
    proxy.heal();
  }
  job.check();
  job.finish();
}

// F10: what has timed out arrives after what was sent since.
void overtaken(Job& job) {
  if (job.guarantee() == Guarantee::kAtLeastOnce) job.offsets_may_go_back();
  commit_harmed(job, Harm::kOvertaken, milliseconds{1'500}, kQuiet);
}

// The same, and who sent it dies when it lands: the next start finds an older commit point, with
// newer records behind it in the log and newer content on the disk.
void overtaken_and_killed(Job& job) {
  constexpr int kTimes = 4;
  constexpr milliseconds kDelay{700};
  auto& proxy = job.cluster().proxy();
  job.start_two(kImpatient);
  if (job.guarantee() == Guarantee::kAtLeastOnce) job.offsets_may_go_back();
  const auto api = job.guarantee() == Guarantee::kAtLeastOnce ? Api::kOffsetCommit : Api::kEndTxn;
  for (int i = 0; i < kTimes; ++i) {
    const auto before = proxy.injected();
    proxy.add({api, Harm::kOvertaken, 1, job.random(4), 1, kDelay});
    job.require(wait_until([&] { return proxy.injected() > before; }, kStruckMax), "I9",
                to_string(api) + " was not sent");
    job.last_for(kDelay - milliseconds{20} + milliseconds{job.random(60)});
    for (const int worker : {1, 2}) job.kill(worker);
    for (const int worker : {1, 2}) job.start(worker, kImpatient);
    job.require_progress();
    proxy.heal();
  }
  job.check();
  job.finish();
}

// F10: any request, in any way.
void everything(Job& job) {
  job.start_two(kImpatient);
  job.offsets_may_go_back();
  auto& proxy = job.cluster().proxy();
  for (const auto harm : {Harm::kDropRequest, Harm::kDropResponse, Harm::kDuplicate,
                          Harm::kCutBefore, Harm::kCutAfter, Harm::kCutInMidResponse})
    proxy.add({std::nullopt, harm, 0.004});
  for (const auto harm : {Harm::kDelayRequest, Harm::kDelayResponse})
    proxy.add({std::nullopt, harm, 0.02, 0, 1'000'000, milliseconds{300}});
  endure(job, milliseconds{15'000});
  job.check();
  job.finish();
}

Scenario commit_scenario(const std::string& name, bool in_short, Harm harm) {
  return {"f10-" + name, in_short, "", [harm](Job& job) { commit_harmed(job, harm); }};
}

}  // namespace

std::vector<Scenario> network_scenarios() {
  return {
      {"f9-refused", false, "", refused},
      {"f9-cut", true, "", cut},
      {"f9-black-hole", true, "", black_hole},
      {"f9-slow", false, "", slow},
      commit_scenario("request-lost", false, Harm::kDropRequest),
      commit_scenario("response-lost", true, Harm::kDropResponse),
      commit_scenario("request-duplicated", true, Harm::kDuplicate),
      commit_scenario("cut-before", false, Harm::kCutBefore),
      commit_scenario("cut-after", false, Harm::kCutAfter),
      {"f10-overtaken", true, "", overtaken},
      {"f10-overtaken-and-killed", false, "", overtaken_and_killed},
      {"f10-everything", true, "", everything},
  };
}

}  // namespace millrace::testing
