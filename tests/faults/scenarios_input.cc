// SPDX-License-Identifier: Apache-2.0
//
// README.md F20, F22: clocks that jump, and records that are not what one expects.
#include <cstdint>
#include <fstream>

#include "tests/faults/scenario.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;

// F20: the wall clock goes an hour forth and back; what waits uses the monotonic one.
void clock_jumps(Job& job) {
  constexpr std::int64_t kHour = 3'600;
  const auto clock = job.folder() / "clock";
  const auto set = [&](std::int64_t seconds) {
    std::fstream file{clock, std::ios::in | std::ios::out | std::ios::binary};
    file.write(reinterpret_cast<const char*>(&seconds), sizeof seconds);
  };
  std::ofstream{clock, std::ios::binary};
  set(0);
  job.start(1, {{"MILLRACE_TEST_CLOCK", clock.string()}});
  job.start(2);
  for (const int worker : {1, 2}) job.await_running(worker);
  job.require_progress();
  for (const std::int64_t offset : {kHour, std::int64_t{0}, -kHour, std::int64_t{0}}) {
    job.fault("the clock of worker 1 is " + std::to_string(offset) + " s wrong");
    set(offset);
    job.last_for(milliseconds{1'000});
    job.require_progress();
    // What it has written with the wrong time on its disk and into commit points is read again.
    if (offset != 0) {
      job.kill(1);
      job.start(1, {{"MILLRACE_TEST_CLOCK", clock.string()}});
      job.require_progress();
    }
  }
  job.check();
  job.finish();
}

// F22
void odd_records(Job& job) {
  constexpr int kBurst = 200'000;
  job.start(1);
  job.await_running(1);
  const auto& topic = job.workload().sources.front();
  std::vector<std::pair<std::string, std::string>> flood;
  for (int i = 0; i < 500; ++i)
    flood.emplace_back("header-" + std::to_string(i), std::string(1'000, 'h'));
  job.fault("huge, null and empty keys and values, a flood of headers");
  for (int i = 0; i < 3; ++i) {
    job.kafka().produce(topic, {{"huge", std::string(900'000, 'v')},
                                {std::string(50'000, 'k'), "v"},
                                {std::nullopt, "v"},
                                {std::nullopt, std::nullopt},
                                {"tombstone", std::nullopt},
                                {"", "v"},
                                {"", ""},
                                {"empty", ""},
                                {"flooded", "v", {}, {}, flood}});
  }
  job.require_progress();
  job.fault("a burst of " + std::to_string(kBurst) + " records");
  std::vector<NewRecord> burst;
  for (int i = 0; i < kBurst; ++i) burst.push_back({"burst-" + std::to_string(i), "v"});
  job.kafka().produce(topic, burst);
  job.kill(1);
  job.start(1);
  job.require_progress();
  job.check();
  job.finish();
}

}  // namespace

std::vector<Scenario> input_scenarios() {
  return {
      {"f20-clock-jumps", true, "", clock_jumps},
      {"f22-odd-records", true, "count", odd_records},
  };
}

}  // namespace millrace::testing
