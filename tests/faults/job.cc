// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/job.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>

namespace millrace::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kPulse{50};    // How often traffic writes its share.
constexpr milliseconds kLookAt{300};  // How often offsets are looked at.
constexpr seconds kStartMax{60};
constexpr seconds kStopMax{60};
constexpr seconds kEndMax{60};

std::string tail(const std::string& log, std::size_t bytes = 1'500) {
  return log.size() <= bytes ? log : "..." + log.substr(log.size() - bytes);
}

}  // namespace

Traffic::Traffic(const std::string& broker, const Workload& workload, std::uint64_t seed,
                 int per_second) {
  thread_ = std::thread{[this, broker, &workload, seed, per_second] {
    try {
      std::mt19937_64 random{seed};
      KafkaClientForTests kafka{broker};
      const auto began = Clock::now();
      while (!stopping_) {
        const std::chrono::duration<double> elapsed = Clock::now() - began;
        const auto due = static_cast<std::int64_t>(elapsed.count() * per_second);
        std::map<std::string, std::vector<NewRecord>> batches;
        for (auto i = records_.load(); i < due; ++i) {
          auto [topic, record] = workload.next(random);
          batches[topic].push_back(std::move(record));
        }
        for (const auto& [topic, batch] : batches) kafka.produce(topic, batch);
        records_ = std::max(due, records_.load());
        let_pass(kPulse);
      }
    } catch (...) {
      failure_ = std::current_exception();
    }
  }};
}

Traffic::~Traffic() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void Traffic::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

OffsetWatch::OffsetWatch(const std::string& broker, const std::string& group,
                         std::vector<std::string> topics)
    : group_(group), topics_(std::move(topics)) {
  thread_ = std::thread{[this, broker] {
    while (!stopping_) {
      try {
        KafkaClientForTests kafka{broker};
        for (; !stopping_; let_pass(kLookAt)) look(kafka);
      } catch (const std::exception&) {
        let_pass(kLookAt);  // A broker that is down.
      }
    }
  }};
}

OffsetWatch::~OffsetWatch() {
  stopping_ = true;
  thread_.join();
}

std::vector<Violation> OffsetWatch::violations() {
  const std::lock_guard lock{mutex_};
  return violations_;
}

void OffsetWatch::look(KafkaClientForTests& kafka) {
  for (const auto& topic : topics_) {
    const auto offsets = kafka.committed(group_, topic);
    const std::lock_guard lock{mutex_};
    for (std::size_t p = 0; p < offsets.size(); ++p) {
      const auto offset = offsets[p].offset.value_or(-1);
      auto& highest = highest_.try_emplace({topic, p}, offset).first->second;
      if (offset < highest) {
        violations_.push_back({"I4", topic + "-" + std::to_string(p) +
                                         ": committed offset went from " + std::to_string(highest) +
                                         " back to " + std::to_string(offset)});
      }
      highest = offset;
    }
  }
}

Job::Job(Cluster& cluster, Options options)
    : cluster_(cluster),
      options_(std::move(options)),
      application_(unique_name("faults")),
      workload_(make_workload(options_.workload, application_)),
      random_(options_.seed),
      kafka_(cluster.direct_addresses()),
      proxy_faults_before_(cluster.injected()) {
  create_topics();
  traffic_ = std::make_unique<Traffic>(kafka_.address(), workload_, options_.seed,
                                       options_.records_per_second);
  std::vector<std::string> inputs;
  for (const auto& stage : workload_.stages)
    inputs.insert(inputs.end(), stage.inputs.begin(), stage.inputs.end());
  watch_ = std::make_unique<OffsetWatch>(kafka_.address(), application_, inputs);
}

void Job::create_topics() {
  const std::map<std::string, std::string> risk{{"min.insync.replicas", "1"},
                                                {"unclean.leader.election.enable", "true"}};
  for (const auto& topic : workload_.topics) {
    const auto& sources = workload_.sources;
    const bool fragile = options_.fragile == Fragile::kSources &&
                         std::find(sources.begin(), sources.end(), topic) != sources.end();
    if (fragile) {
      kafka_.create_topic(topic, options_.partitions, risk, 2);
    } else {
      kafka_.create_topic(topic, options_.partitions);
    }
  }
  if (options_.fragile == Fragile::kChangelogs) {
    auto compacted = risk;
    compacted["cleanup.policy"] = "compact";
    for (const auto& stage : workload_.stages)
      kafka_.create_topic(stage.changelog, options_.partitions, compacted, 2);
  }
  // Brokers learn of a topic one after the other. A new client asks the one that it was given.
  for (int number = 1; number <= cluster_.brokers(); ++number) {
    for (const auto& topic : workload_.topics) {
      const auto known = [&] {
        KafkaClientForTests one{cluster_.broker(number).address()};
        return one.partitions(topic) == options_.partitions;
      };
      if (!wait_until(known, kStartMax))
        throw std::runtime_error("broker " + std::to_string(number) + " does not know " + topic);
    }
  }
}

Job::~Job() {
  workers_.clear();
  watch_.reset();
  traffic_.reset();
  try {
    auto topics = workload_.topics;
    for (const auto& stage : workload_.stages) topics.push_back(stage.changelog);
    kafka_.delete_topics(topics);
    static_cast<void>(kafka_.admin().delete_group(application_, seconds{5}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

std::filesystem::path Job::state_dir(int worker) const {
  return folder_.path() / ("disk-" + std::to_string(worker));
}

Process& Job::start(int worker, const Environment& settings) {
  const std::string name = "worker-" + std::to_string(worker);
  Environment environment{{"WORKLOAD", workload_.name},
                          {"MILLRACE_APPLICATION_ID", application_},
                          {"MILLRACE_BOOTSTRAP_SERVERS", cluster_.proxied_addresses()},
                          {"MILLRACE_STATE_DIR", state_dir(worker).string()},
                          {"MILLRACE_GROUP_INSTANCE_ID", name},
                          {"MILLRACE_GUARANTEE", to_string(options_.guarantee)},
                          {"MILLRACE_COMMIT_INTERVAL_MS", "100"},
                          {"MILLRACE_CHECKPOINT_INTERVAL_MS", "500"},
                          {"MILLRACE_TASK_RESTART_BACKOFF_MS", "100"},
                          {"MILLRACE_TASK_RESTART_BACKOFF_MAX_MS", "2000"},
                          {"MILLRACE_TASK_RESTART_LIMIT", "50"},
                          {"MILLRACE_KAFKA_SESSION_TIMEOUT_MS", "6000"},
                          {"MILLRACE_KAFKA_HEARTBEAT_INTERVAL_MS", "1000"},
                          {"MILLRACE_HTTP", "0"}};
  for (const auto& [key, value] : options_.settings) environment[key] = value;
  for (const auto& [key, value] : settings) environment[key] = value;
  std::erase_if(environment, [](const auto& entry) { return entry.second.empty(); });
  auto& process = workers_[worker];
  process = std::make_unique<Process>(
      MILLRACE_BINARY_DIR "/tests/faults_worker", environment,
      folder_.path() / (name + "." + std::to_string(++processes_) + ".log"));
  log("start " + name + " as process " + std::to_string(processes_) + ", pid " +
      std::to_string(process->pid()));
  return *process;
}

void Job::await_running(int worker) {
  require(process(worker).wait_for_log("-> RUNNING", kStartMax), "I9",
          "worker " + std::to_string(worker) + " did not come to RUNNING in " +
              std::to_string(kStartMax.count()) + " s: " + tail(process(worker).log()));
  go_on_only_if_sound();
}

void Job::start_two(const Environment& settings) {
  for (const int worker : {1, 2}) start(worker, settings);
  for (const int worker : {1, 2}) await_running(worker);
  require_progress();
}

void Job::kill(int worker) {
  check_alive();
  if (!workers_.contains(worker)) return;
  fault("kill -9 worker " + std::to_string(worker));
  process(worker).kill();
  check_state_kept(worker);
  workers_.erase(worker);
}

void Job::freeze(int worker) {
  check_alive();
  if (!workers_.contains(worker)) return;
  fault("SIGSTOP worker " + std::to_string(worker));
  process(worker).signal(SIGSTOP);
}

void Job::thaw(int worker) {
  log("SIGCONT worker " + std::to_string(worker));
  process(worker).signal(SIGCONT);
}

void Job::stop(int worker) {
  check_alive();
  if (!workers_.contains(worker)) return;
  log("SIGTERM worker " + std::to_string(worker));
  const auto code = process(worker).stop(kStopMax);
  require(code == 0, "I12",
          "worker " + std::to_string(worker) + " was told to stop and " +
              (code ? "ended with " + std::to_string(*code) : "did not end") + ": " +
              tail(process(worker).log()));
  check_state_kept(worker);
  workers_.erase(worker);
}

void Job::wipe(int worker) {
  fault("the disk of worker " + std::to_string(worker) + " is deleted");
  std::filesystem::remove_all(state_dir(worker));
}

void Job::expect_end(int worker, int code, const std::string& text) {
  const auto ended = process(worker).wait(kEndMax);
  const auto log_text = process(worker).log();
  require(ended == code, "I12",
          "worker " + std::to_string(worker) + " should have ended with " + std::to_string(code) +
              ", but " + (ended ? "ended with " + std::to_string(*ended) : "runs on") + ": " +
              tail(log_text));
  require(log_text.find(text) != std::string::npos, "I12",
          "worker " + std::to_string(worker) + " ended without saying '" + text +
              "': " + tail(log_text));
  check_state_kept(worker);
  workers_.erase(worker);
}

void Job::expect_killed(int worker) {
  fault("worker " + std::to_string(worker) + " ends at its kill point");
  expect_end(worker, 128 + SIGKILL, "kill point ");
}

void Job::fault(const std::string& what) {
  log("fault: " + what);
  ++own_faults_;
}

void Job::require_progress(seconds bound) {
  const auto began = Clock::now();
  std::map<std::string, std::vector<PartitionEnds>> targets;
  for (const auto& topic : workload_.sources) targets[topic] = kafka_.ends(topic);
  std::string behind;
  const bool reached = wait_until(
      [&] {
        check_alive();
        behind.clear();
        for (const auto& [topic, ends] : targets) {
          const auto offsets = kafka_.committed(application_, topic);
          for (std::size_t p = 0; p < ends.size(); ++p) {
            const auto offset = offsets.at(p).offset.value_or(0);
            if (offset < ends[p].high) {
              behind += " " + topic + "-" + std::to_string(p) + " " + std::to_string(offset) +
                        " < " + std::to_string(ends[p].high);
            }
          }
        }
        return behind.empty();
      },
      bound);
  const double took = std::chrono::duration<double>(Clock::now() - began).count();
  recovery_s_ = std::max(recovery_s_, took);
  log("progress after " + std::to_string(took) + " s");
  require(reached, "I9",
          "not committed " + std::to_string(bound.count()) + " s after the fault:" + behind);
  check_alive();
  go_on_only_if_sound();
}

void Job::check() {
  auto result = check_results(kafka_, workload_, application_, options_.guarantee);
  log("checked " + std::to_string(result.records) +
      " records: " + std::to_string(result.violations.size()) + " violations");
  for (const auto& violation : result.violations)
    require(false, violation.invariant, violation.what);
  go_on_only_if_sound();
}

void Job::go_on_only_if_sound() const {
  if (!violations_.empty()) throw Broken{};
}

void Job::stop_traffic() {
  traffic_->stop();
  log(std::to_string(traffic_->records()) + " records written");
}

void Job::burst(int records) {
  std::map<std::string, std::vector<NewRecord>> batches;
  for (int i = 0; i < records; ++i) {
    auto [topic, record] = workload_.next(random_);
    batches[topic].push_back(std::move(record));
  }
  for (const auto& [topic, batch] : batches) kafka_.produce(topic, batch);
  log("a burst of " + std::to_string(records) + " records");
}

void Job::finish(seconds bound) {
  stop_traffic();
  require(wait_until(
              [&] {
                check_alive();
                return all_committed(kafka_, workload_, application_);
              },
              bound),
          "I9",
          "not everything is committed " + std::to_string(bound.count()) +
              " s after the end of the traffic");
  check_alive();
  if (options_.guarantee == Guarantee::kExactlyOnce) require_no_open_transaction();
  while (!workers_.empty()) stop(workers_.begin()->first);
  check();
  for (const auto& violation : watch_->violations()) {
    if (may_go_back_) {
      log("as may be here: " + violation.what);
    } else {
      require(false, violation.invariant, violation.what);
    }
  }
}

void Job::require_no_open_transaction() {
  for (const auto& topic : workload_.topics) {
    require(is_visible_soon(kafka_, topic), "I10",
            topic + " has an open transaction long after its last input");
  }
}

// A crash alone never costs the state on a disk: nothing is there that the commit points do not
// cover. An engine whose content went ahead of its commit would be, and is only rebuilt.
void Job::check_state_kept(int worker) {
  const auto text = process(worker).log();
  const auto at = text.find("is rebuilt from the changelog");
  if (may_go_back_ || at == std::string::npos) return;
  const auto line = text.rfind('\n', at) + 1;
  require(false, "I13",
          "worker " + std::to_string(worker) +
              " has given up its state: " + text.substr(line, text.find('\n', at) - line));
}

// Nobody ends by himself.
void Job::check_alive() {
  std::vector<int> ended;
  for (auto& [worker, entry] : workers_) {
    const auto code = entry->wait(milliseconds{0});
    if (!code) continue;
    require(false, "I12",
            "worker " + std::to_string(worker) + " has ended by itself with " +
                std::to_string(*code) + ": " + tail(entry->log()));
    ended.push_back(worker);
  }
  for (const int worker : ended) workers_.erase(worker);
}

void Job::require(bool holds, const std::string& invariant, const std::string& what) {
  if (holds) return;
  log("VIOLATION " + invariant + ": " + what);
  violations_.push_back({invariant, what});
}

void Job::log(const std::string& line) {
  char time[32];
  std::snprintf(time, sizeof time, "%6.1f  ",
                std::chrono::duration<double>(Clock::now() - began_).count());
  std::cerr << time + line + "\n";
}

void Job::last_for(milliseconds time) { let_pass(time); }

int Job::random(int end) { return std::uniform_int_distribution{0, end - 1}(random_); }

std::uint64_t Job::faults() const {
  return own_faults_ + cluster_.injected() - proxy_faults_before_;
}

}  // namespace millrace::testing
