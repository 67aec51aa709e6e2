// SPDX-License-Identifier: Apache-2.0
//
// Runs fault scenarios against a real broker of its own: `./dev test faults --profile ...`. What
// happens is decided by the seed, but for what the machine's timing adds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <random>

#include "tests/faults/scenario.h"

namespace millrace::testing {
namespace {

using Clock = std::chrono::steady_clock;

struct Arguments {
  std::string profile = "short";
  std::optional<std::uint64_t> seed;
  int minutes = 60;
  std::optional<std::string> guarantee;
  bool list = false;
};

struct Balance {
  int passed = 0;
  int failed = 0;
  std::uint64_t faults = 0;
  std::int64_t records = 0;
  std::size_t violations = 0;
  double recovery_s = 0;
};

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all;
  for (auto part : {crash_scenarios, membership_scenarios, broker_scenarios, replica_scenarios,
                    network_scenarios, input_scenarios}) {
    for (auto& scenario : part()) all.push_back(std::move(scenario));
  }
  return all;
}

// The logs of the workers, for who has to find out why.
std::string keep_logs(const Job& job, const std::string& name) {
  const std::filesystem::path kept =
      std::filesystem::path{MILLRACE_BINARY_DIR} / "test-logs" / "faults" / name;
  std::filesystem::create_directories(kept);
  for (const auto& file : std::filesystem::directory_iterator{job.folder()}) {
    if (file.path().extension() != ".log") continue;
    std::filesystem::copy_file(file.path(), kept / file.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  return kept.string();
}

/// Runs scenarios one after the other on the same brokers; on new ones after a failure, where
/// another number is asked for, and from time to time, so that a long run does not fill the disk.
class Runner {
 public:
  explicit Runner(std::uint64_t seed) : seed_(seed) {}

  void run(const Scenario& scenario, Guarantee guarantee, std::uint64_t seed) {
    const auto began = Clock::now();
    std::mt19937_64 random{seed};
    Job::Options options;
    options.scenario = scenario.name;
    options.seed = seed;
    options.guarantee = guarantee;
    options.fragile = scenario.fragile;
    constexpr std::array kWorkloads{"count", "pairs", "transfers"};
    options.workload = scenario.workload.empty() ? kWorkloads.at(random() % 3) : scenario.workload;
    std::cerr << scenario.name << ": seed " << seed << ", workload " << options.workload << ", "
              << to_string(guarantee) << std::endl;
    std::vector<Violation> violations;
    std::string logs;
    try {
      if (cluster_ && (cluster_->brokers() != scenario.brokers || served_ == kServedMax))
        cluster_.reset();
      if (!cluster_) {
        cluster_ = std::make_unique<Cluster>(
            seed_, [](const std::string& line) { std::cerr << "  " + line + "\n"; },
            scenario.brokers);
        served_ = 0;
      }
      ++served_;
      Job job{*cluster_, options};
      try {
        scenario.run(job);
      } catch (const Job::Broken&) {
        // It has said why.
      } catch (const std::exception& error) {
        job.require(false, "harness", error.what());
      }
      cluster_->heal();
      violations = job.violations();
      balance.faults += job.faults();
      balance.records += job.records();
      balance.recovery_s = std::max(balance.recovery_s, job.recovery_s());
      if (!violations.empty()) logs = keep_logs(job, scenario.name + "-" + std::to_string(seed));
    } catch (const std::exception& error) {
      violations.push_back({"harness", error.what()});
    }
    const auto seconds = std::chrono::duration<double>(Clock::now() - began).count();
    std::printf("%s %-28s %s seed %llu  (%.0f s)\n", violations.empty() ? "passed" : "FAILED",
                scenario.name.c_str(), to_string(guarantee).c_str(),
                static_cast<unsigned long long>(seed), seconds);
    for (const auto& violation : violations)
      std::printf("  %s: %s\n", violation.invariant.c_str(), violation.what.c_str());
    if (!violations.empty()) {
      if (!logs.empty()) std::printf("  logs of the workers: %s\n", logs.c_str());
      std::printf("  again: ./dev test faults --profile %s --seed %llu --guarantee %s\n",
                  scenario.name.c_str(), static_cast<unsigned long long>(seed),
                  to_string(guarantee).c_str());
      cluster_.reset();
    }
    std::fflush(stdout);
    ++(violations.empty() ? balance.passed : balance.failed);
    balance.violations += violations.size();
  }

  Balance balance;

 private:
  static constexpr int kServedMax = 20;

  const std::uint64_t seed_;
  std::unique_ptr<Cluster> cluster_;
  int served_ = 0;  // Scenarios that the cluster has seen.
};

/// Every scenario under every guarantee in an order of the seed, again and again.
void run_nightly(Runner& runner, const std::vector<Scenario>& scenarios,
                 const std::vector<Guarantee>& guarantees, std::uint64_t seed,
                 std::chrono::minutes time) {
  std::vector<std::pair<const Scenario*, Guarantee>> all;
  for (const auto& scenario : scenarios) {
    for (const auto guarantee : guarantees) all.emplace_back(&scenario, guarantee);
  }
  std::mt19937_64 random{seed};
  const auto end = Clock::now() + time;
  for (std::size_t next = 0; Clock::now() < end; ++next) {
    if (next % all.size() == 0) std::shuffle(all.begin(), all.end(), random);
    const auto& [scenario, guarantee] = all[next % all.size()];
    runner.run(*scenario, guarantee, seed + next);
  }
}

int run(const Arguments& arguments) {
  const auto scenarios = all_scenarios();
  if (arguments.list) {
    for (const auto& scenario : scenarios)
      std::printf("%-28s%s\n", scenario.name.c_str(), scenario.in_short ? " short" : "");
    return 0;
  }
  const auto seed = arguments.seed.value_or(std::random_device{}());
  std::vector<Guarantee> guarantees;
  for (const auto guarantee : {Guarantee::kAtLeastOnce, Guarantee::kExactlyOnce}) {
    if (arguments.guarantee.value_or(to_string(guarantee)) == to_string(guarantee))
      guarantees.push_back(guarantee);
  }
  Runner runner{seed};
  if (arguments.profile == "nightly") {
    run_nightly(runner, scenarios, guarantees, seed, std::chrono::minutes{arguments.minutes});
  } else if (arguments.profile == "short") {
    std::mt19937_64 random{seed};
    for (const auto& scenario : scenarios) {
      if (scenario.in_short) runner.run(scenario, guarantees[random() % guarantees.size()], seed);
    }
  } else {
    for (const auto& scenario : scenarios) {
      if (arguments.profile == scenario.name) runner.run(scenario, guarantees.front(), seed);
    }
  }
  const auto& balance = runner.balance;
  std::printf(
      "%llu faults injected, %lld records written, longest recovery %.1f s, %zu violations\n",
      static_cast<unsigned long long>(balance.faults), static_cast<long long>(balance.records),
      balance.recovery_s, balance.violations);
  std::printf("%d passed, %d failed\n", balance.passed, balance.failed);
  return balance.failed == 0 && balance.passed > 0 ? 0 : 1;
}

std::vector<std::string> profiles() {
  std::vector<std::string> names{"short", "nightly"};
  for (const auto& scenario : all_scenarios()) names.push_back(scenario.name);
  return names;
}

}  // namespace
}  // namespace millrace::testing

int main(int argc, char** argv) {
  using millrace::testing::profiles;
  millrace::testing::Arguments arguments;
  CLI::App app{"Harms workers on a real Kafka and checks what they leave behind"};
  app.add_option("--profile", arguments.profile, "short, nightly or the name of a scenario")
      ->check(CLI::IsMember(profiles()))
      ->capture_default_str();
  app.add_option("--seed", arguments.seed, "Repeats a run; random by default");
  app.add_option("--minutes", arguments.minutes, "How long nightly goes on")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--guarantee", arguments.guarantee,
                 "at_least_once or exactly_once; by default nightly takes both, short one for each "
                 "scenario by the seed, others the first")
      ->check(CLI::IsMember({"at_least_once", "exactly_once"}));
  app.add_flag("--list", arguments.list, "Names the scenarios");
  CLI11_PARSE(app, argc, argv);
  return millrace::testing::run(arguments);
}
