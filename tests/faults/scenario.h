// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/faults/job.h"

namespace millrace::testing {

/// One way to harm an application, with what must hold.
struct Scenario {
  std::string name;
  bool in_short = false;  ///< Part of the profile `short`.
  std::string workload;   ///< Empty: any, by the seed.
  std::function<void(Job&)> run;
  int brokers = 1;  ///< 1 or 3.
  Job::Fragile fragile = Job::Fragile::kNone;
};

[[nodiscard]] std::vector<Scenario> crash_scenarios();
[[nodiscard]] std::vector<Scenario> membership_scenarios();
[[nodiscard]] std::vector<Scenario> broker_scenarios();
[[nodiscard]] std::vector<Scenario> replica_scenarios();
[[nodiscard]] std::vector<Scenario> network_scenarios();
[[nodiscard]] std::vector<Scenario> input_scenarios();

}  // namespace millrace::testing
