// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/kafka_client.h"
#include "tests/support/process.h"

namespace millrace::testing {

using Counts = std::map<std::string, std::int64_t>;

/// Empty if both are equal, else how many keys differ and a few of them.
[[nodiscard]] std::string difference(const Counts& expected, const Counts& found);

/// The topics, the group and the folders of one run of examples/02_count, and what its result must
/// be. Removes all of them at its end. Processes of it must have ended before.
class CountJob {
 public:
  explicit CountJob(std::int32_t partitions, const std::string& broker = shared_broker());
  ~CountJob();
  CountJob(const CountJob&) = delete;
  CountJob& operator=(const CountJob&) = delete;

  /// Starts a process with a state directory and a log of the name `instance`. Commits every 200
  /// ms, HTTP on a free port, session time-out 6 s; `settings` are added to that.
  [[nodiscard]] std::unique_ptr<Process> start(const std::string& instance,
                                               const Environment& settings = {},
                                               const std::string& program = "02_count");

  /// Writes `records` with keys "key-0" ... "key-<keys - 1>" in turn, and expects them to be
  /// counted.
  void produce(std::int64_t records, std::int64_t keys);

  /// All input that is there now is processed and committed, or that of the first
  /// `partitions_max` partitions.
  [[nodiscard]] bool processed(
      std::size_t partitions_max = std::numeric_limits<std::size_t>::max());
  /// Waits for that.
  [[nodiscard]] bool wait_until_processed(std::chrono::seconds timeout = std::chrono::seconds{60});
  /// What is wrong with the newest value of each key in the output, and in the changelog; empty:
  /// nothing.
  [[nodiscard]] std::string error_in_output();
  [[nodiscard]] std::string error_in_changelog();
  /// Exactly-once: a key whose outputs do not rise from one to the next, in the order of the log;
  /// empty: there is none.
  [[nodiscard]] std::string error_in_order();

  [[nodiscard]] std::filesystem::path state_dir(const std::string& instance) const {
    return folder_.path() / instance;
  }
  void wipe(const std::string& instance) { std::filesystem::remove_all(state_dir(instance)); }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_.path(); }

  KafkaClientForTests kafka;
  const std::string application = unique_name("it-count");
  const std::string input = application + "-in";
  const std::string output = application + "-out";
  const std::string changelog = application + "-counts-changelog";
  Counts expected;

 private:
  std::size_t partitions_;
  TemporaryFolder folder_;
};

/// Writes to a job's input in a thread of its own, at a rate, until it is told to stop.
class Traffic {
 public:
  Traffic(CountJob& job, std::int64_t records_per_second, std::int64_t keys);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  /// Adds what was written to the job's expectation. Rethrows what went wrong.
  std::int64_t stop();

 private:
  CountJob& job_;
  std::atomic<bool> stopping_{false};
  std::exception_ptr failure_;
  Counts written_;
  std::int64_t total_ = 0;
  std::thread thread_;
};

/// Sum of "replayed N records" in a log.
[[nodiscard]] std::int64_t replayed_records(const std::string& log);
/// The value of a metric, summed over its series; nullopt: there is none.
[[nodiscard]] std::optional<double> metric(const std::string& exposition, const std::string& name);
/// How often `text` is in `log`.
[[nodiscard]] std::size_t occurrences(const std::string& log, const std::string& text);

}  // namespace millrace::testing
