// SPDX-License-Identifier: Apache-2.0
//
// Measures one workload on a prefilled topic and prints one line of JSON.
//
//   floor-consume   librdkafka alone: read all records
//   floor-copy      librdkafka alone: read them and write them to another topic
//   passthrough     stream -> map_values -> to
//   count           stream -> group_by_key -> count -> to_stream -> to
//   restore         a store of count from its changelog, without local state
//
// See README.md here for what the figures mean.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>

#include "tests/bench/application.h"
#include "tests/bench/cluster.h"
#include "tests/bench/floor.h"
#include "tests/bench/interrupt.h"

namespace millrace::bench {
namespace {

// The state of a run: `<state_dir>/<application_id>`, which must be new and is removed at the end.
class State {
 public:
  explicit State(Options& options) : keep_(options.keep) {
    if (options.state_dir.empty()) {
      temporary_ = (std::filesystem::temp_directory_path() / "millrace-bench.XXXXXX").string();
      if (mkdtemp(temporary_.data()) == nullptr) {
        throw std::runtime_error("cannot create " + temporary_);
      }
      options.state_dir = temporary_;
    }
    run_ = std::filesystem::path{options.state_dir} / options.application_id;
    if (std::filesystem::exists(run_) && !options.filled) {
      throw std::runtime_error(run_.string() + " exists: a run starts without state");
    }
  }
  ~State() {
    std::error_code ignored;
    if (!keep_) std::filesystem::remove_all(run_, ignored);
    if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

 private:
  const bool keep_;
  std::string temporary_;
  std::filesystem::path run_;
};

Measurement run(const Options& options) {
  if (options.workload.starts_with("floor-")) return run_floor(options);
  if (options.workload == "restore") return run_restore(options);
  return run_application(options);
}

void measure_and_print(Options& options) {
  const State state{options};
  if (const auto there = records_in(options, options.input); there < options.records) {
    throw std::runtime_error(options.input + " has " + std::to_string(there) +
                             " records, not the " + std::to_string(options.records) + " wanted");
  }
  const Cluster cluster{options};
  std::cout << json_line(options, run(options)) << std::endl;
}

int main(int argc, char** argv) {
  Options options;
  CLI::App cli{"Measures one workload on a prefilled topic; prints one line of JSON."};
  cli.add_option("--workload", options.workload, "What to run")
      ->required()
      ->check(CLI::IsMember({"floor-consume", "floor-copy", "passthrough", "count", "restore"}));
  cli.add_option("--bootstrap", options.bootstrap, "HOST:PORT of the broker")
      ->capture_default_str();
  cli.add_option("--input", options.input, "Topic to read, filled before")->required();
  cli.add_option("--output", options.output, "Topic to write; default: <application-id>-out");
  cli.add_option("--records", options.records, "How many records of the input to process")
      ->required()
      ->check(CLI::PositiveNumber);
  cli.add_option("--store", options.store, "Engine of the stores")
      ->check(CLI::IsMember({"rocksdb", "memory"}))
      ->capture_default_str();
  cli.add_option("--threads", options.threads, "Worker threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  cli.add_option("--state-dir", options.state_dir,
                 "Where <application-id>/ is made and removed; default: a temporary folder");
  cli.add_option("--application-id", options.application_id,
                 "Default: millrace-bench-<workload>-<pid>");
  cli.add_option("--guarantee", options.guarantee, "Processing guarantee")
      ->check(CLI::IsMember({"at_least_once", "exactly_once"}))
      ->capture_default_str();
  cli.add_option_function<std::int64_t>(
         "--commit-interval-ms",
         [&](std::int64_t value) { options.commit_interval = std::chrono::milliseconds{value}; },
         "Default: that of the guarantee")
      ->check(CLI::Range(1, 3'600'000));
  cli.add_option("--partitions", options.partitions, "Partitions of an output topic created here")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  cli.add_flag("--keep", options.keep, "Leave the run's topics, group and state");
  cli.add_flag("--filled", options.filled,
               "restore: an earlier run with --keep has filled the changelog");
  cli.footer("Other settings are taken from MILLRACE_* in the environment.");
  CLI11_PARSE(cli, argc, argv);
  if (options.application_id.empty()) {
    options.application_id = "millrace-bench-" + options.workload + "-" + std::to_string(getpid());
  }
  if (options.output.empty()) options.output = options.application_id + "-out";
  catch_interrupts();
  try {
    measure_and_print(options);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "millrace_bench: " << error.what() << std::endl;
    return 1;
  }
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) { return millrace::bench::main(argc, argv); }
