// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/checks.h"
#include "tests/faults/cluster.h"
#include "tests/faults/workload.h"
#include "tests/support/kafka_client.h"
#include "tests/support/process.h"

namespace millrace::testing {

/// Writes records for a workload at a rate, in a thread of its own and past the proxy.
class Traffic {
 public:
  Traffic(const std::string& broker, const Workload& workload, std::uint64_t seed, int per_second);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  /// Ends when all that was begun is acknowledged. Rethrows what went wrong.
  void stop();
  [[nodiscard]] std::int64_t records() const { return records_; }

 private:
  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> records_{0};
  std::exception_ptr failure_;
  std::thread thread_;
};

/// Looks at the committed offsets again and again: I4, they never go back.
class OffsetWatch {
 public:
  OffsetWatch(const std::string& broker, const std::string& group, std::vector<std::string> topics);
  ~OffsetWatch();
  OffsetWatch(const OffsetWatch&) = delete;
  OffsetWatch& operator=(const OffsetWatch&) = delete;

  [[nodiscard]] std::vector<Violation> violations();

 private:
  void look(KafkaClientForTests& kafka);

  const std::string group_;
  const std::vector<std::string> topics_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::map<std::pair<std::string, std::size_t>, std::int64_t> highest_;
  std::vector<Violation> violations_;
  std::thread thread_;
};

/// One application under test: its topics, the worker processes with their disks, what it is fed,
/// and what was found wrong with it. What a scenario drives.
class Job {
 public:
  /// Thrown by checks once something is wrong: what comes after would only repeat it.
  struct Broken {};

  /// Topics whose newest records may be lost, where there are several brokers: two copies, one of
  /// them is enough, and one that lacks records may become the leader.
  enum class Fragile : std::uint8_t { kNone, kSources, kChangelogs };

  struct Options {
    std::string scenario;
    std::string workload = "count";
    std::uint64_t seed = 0;
    Guarantee guarantee = Guarantee::kAtLeastOnce;
    int partitions = 6;
    int records_per_second = 2'000;
    Fragile fragile = Fragile::kNone;
    Environment settings = {};  ///< For every worker.
  };
  Job(Cluster& cluster, Options options);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // --- Workers. Numbers from 1 on; each has a disk, and a name as a static member of the group.
  // ---

  /// Starts a process; `settings` are added to those of the job.
  Process& start(int worker, const Environment& settings = {});
  /// Waits until it says RUNNING (of this process, not of one before). A violation of I9 if not.
  void await_running(int worker);
  /// Starts workers 1 and 2, waits until both are RUNNING and all that is there is committed.
  void start_two(const Environment& settings = {});
  [[nodiscard]] Process& process(int worker) { return *workers_.at(worker); }
  void kill(int worker);
  void freeze(int worker);
  void thaw(int worker);
  /// SIGTERM: must end with 0 in time.
  void stop(int worker);
  /// Removes what it has on disk. It must not run.
  void wipe(int worker);
  /// It is to end by itself, with this exit code and with `text` in its log.
  void expect_end(int worker, int code, const std::string& text = {});
  /// It was armed with a kill point and is to end there.
  void expect_killed(int worker);

  // --- Faults and what must hold. What waits or checks throws Broken when something is wrong. ---

  /// Counts and logs a fault of the scenario itself; the proxy counts its own.
  void fault(const std::string& what);
  /// I9: everything that is in the sources now is committed, on every partition, in time.
  void require_progress(std::chrono::seconds bound = std::chrono::seconds{60});
  /// All invariants that hold at any moment, of what is committed now.
  void check();
  /// Ends the traffic, waits until all is committed, stops the workers in order, checks all.
  void finish(std::chrono::seconds bound = std::chrono::seconds{90});
  void require(bool holds, const std::string& invariant, const std::string& what);
  void log(const std::string& line);
  /// Lets a fault last.
  void last_for(std::chrono::milliseconds time);
  /// I4 and I13 with what README.md allows: an early copy of a commit may land after the next.
  void offsets_may_go_back() { may_go_back_ = true; }
  void stop_traffic();
  /// Writes so many records at once, beside the traffic.
  void burst(int records);

  [[nodiscard]] Cluster& cluster() { return cluster_; }
  [[nodiscard]] KafkaClientForTests& kafka() { return kafka_; }
  [[nodiscard]] const Workload& workload() const { return workload_; }
  [[nodiscard]] const std::string& application() const { return application_; }
  [[nodiscard]] Guarantee guarantee() const { return options_.guarantee; }
  [[nodiscard]] std::filesystem::path state_dir(int worker) const;
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_.path(); }
  /// 0 ... end - 1.
  [[nodiscard]] int random(int end);

  // --- The balance. ---

  [[nodiscard]] const std::vector<Violation>& violations() const { return violations_; }
  [[nodiscard]] std::uint64_t faults() const;
  [[nodiscard]] std::int64_t records() const { return traffic_->records(); }
  /// The longest that require_progress had to wait.
  [[nodiscard]] double recovery_s() const { return recovery_s_; }

 private:
  void check_alive();
  void check_state_kept(int worker);
  void create_topics();
  void go_on_only_if_sound() const;
  void require_no_open_transaction();

  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  Cluster& cluster_;
  const Options options_;
  const std::string application_;
  const Workload workload_;
  std::mt19937_64 random_;
  TemporaryFolder folder_;
  KafkaClientForTests kafka_;
  std::map<int, std::unique_ptr<Process>> workers_;
  int processes_ = 0;
  std::uint64_t own_faults_ = 0;
  const std::uint64_t proxy_faults_before_;
  bool may_go_back_ = false;
  double recovery_s_ = 0;
  std::vector<Violation> violations_;
  std::unique_ptr<Traffic> traffic_;
  std::unique_ptr<OffsetWatch> watch_;
};

}  // namespace millrace::testing
