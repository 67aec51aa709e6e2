// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/count_job.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace millrace::testing {
namespace {

constexpr std::size_t kDifferencesShown = 5;
// How often traffic writes its share.
constexpr std::chrono::milliseconds kPulse{50};

}  // namespace

std::string difference(const Counts& expected, const Counts& found) {
  std::ostringstream text;
  std::size_t wrong = 0;
  const auto note = [&](const std::string& key, const std::string& what) {
    if (++wrong <= kDifferencesShown) text << "; " << key << ' ' << what;
  };
  for (const auto& [key, count] : expected) {
    const auto at = found.find(key);
    if (at == found.end()) {
      note(key, "is missing, expected " + std::to_string(count));
    } else if (at->second != count) {
      note(key, "is " + std::to_string(at->second) + ", expected " + std::to_string(count));
    }
  }
  for (const auto& [key, count] : found) {
    if (!expected.contains(key)) note(key, "is too much, " + std::to_string(count));
  }
  if (wrong == 0) return {};
  return std::to_string(wrong) + " of " + std::to_string(expected.size()) + " keys are wrong" +
         text.str();
}

CountJob::CountJob(std::int32_t partitions, const std::string& broker)
    : kafka(broker), partitions_(static_cast<std::size_t>(partitions)) {
  // Brokers delete by record time, whenever they look: some cases write old records.
  const std::map<std::string, std::string> kept{{"retention.ms", "-1"}};
  kafka.create_topic(input, partitions, kept);
  kafka.create_topic(output, partitions, kept);
}

CountJob::~CountJob() {
  try {
    kafka.delete_topics({input, output, changelog});
    // A group of killed members lives until their session ends, and goes with its offsets some day.
    static_cast<void>(kafka.admin().delete_group(application, std::chrono::seconds{5}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

std::unique_ptr<Process> CountJob::start(const std::string& instance, const Environment& settings,
                                         const std::string& program) {
  Environment environment{{"INPUT_TOPIC", input},
                          {"OUTPUT_TOPIC", output},
                          {"MILLRACE_APPLICATION_ID", application},
                          {"MILLRACE_BOOTSTRAP_SERVERS", kafka.address()},
                          {"MILLRACE_STATE_DIR", state_dir(instance).string()},
                          {"MILLRACE_COMMIT_INTERVAL_MS", "200"},
                          {"MILLRACE_KAFKA_SESSION_TIMEOUT_MS", "6000"},
                          {"MILLRACE_KAFKA_HEARTBEAT_INTERVAL_MS", "1000"},
                          {"MILLRACE_HTTP", "0"}};
  for (const auto& [name, value] : settings) environment[name] = value;
  static std::atomic<int> number{0};
  return std::make_unique<Process>(
      MILLRACE_BINARY_DIR "/examples/" + program, environment,
      folder_.path() / (instance + "-" + std::to_string(++number) + ".log"));
}

void CountJob::produce(std::int64_t records, std::int64_t keys) {
  std::vector<NewRecord> batch;
  batch.reserve(static_cast<std::size_t>(records));
  for (std::int64_t i = 0; i < records; ++i) {
    batch.push_back({"key-" + std::to_string(i % keys), "v"});
    ++expected[*batch.back().key];
  }
  kafka.produce(input, batch);
}

bool CountJob::processed(std::size_t partitions_max) {
  const auto ends = kafka.ends(input);
  // A broker that has just started may not know its topics yet.
  if (ends.size() != partitions_) return false;
  const auto offsets = kafka.committed(application, input);
  for (std::size_t i = 0; i < std::min(ends.size(), partitions_max); ++i) {
    if (offsets.at(i).offset.value_or(-1) < ends[i].high) return false;
  }
  return true;
}

bool CountJob::wait_until_processed(std::chrono::seconds timeout) {
  return wait_until([this] { return processed(); }, timeout);
}

std::string CountJob::error_in_output() { return difference(expected, kafka.counts(output)); }

std::string CountJob::error_in_changelog() { return difference(expected, kafka.counts(changelog)); }

std::string CountJob::error_in_order() {
  Counts latest;
  std::string error;
  kafka.read(output, [&](const StoredRecord& record) {
    const std::int64_t count = from_big_endian(*record.value);
    auto& before = latest[*record.key];
    if (count <= before && error.empty()) {
      error = *record.key + " went from " + std::to_string(before) + " to " +
              std::to_string(count) + " at offset " + std::to_string(record.offset) +
              " of partition " + std::to_string(record.partition);
    }
    before = count;
  });
  return error;
}

Traffic::Traffic(CountJob& job, std::int64_t records_per_second, std::int64_t keys) : job_(job) {
  thread_ = std::thread{[this, records_per_second, keys, address = job.kafka.address(),
                         topic = job.input] {
    try {
      KafkaClientForTests client{address};
      const auto began = std::chrono::steady_clock::now();
      while (!stopping_) {
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began;
        const auto due =
            static_cast<std::int64_t>(elapsed.count() * static_cast<double>(records_per_second));
        std::vector<NewRecord> batch;
        for (; total_ < due; ++total_) {
          batch.push_back({"key-" + std::to_string(total_ % keys), "v"});
          ++written_[*batch.back().key];
        }
        client.produce(topic, batch);
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

std::int64_t Traffic::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  if (failure_) std::rethrow_exception(failure_);
  for (const auto& [key, count] : written_) job_.expected[key] += count;
  written_.clear();
  return total_;
}

std::int64_t replayed_records(const std::string& log) {
  const std::string before = "replayed ";
  std::int64_t sum = 0;
  for (auto at = log.find(before); at != std::string::npos; at = log.find(before, at + 1)) {
    sum += std::stoll(log.substr(at + before.size(), 20));
  }
  return sum;
}

std::optional<double> metric(const std::string& exposition, const std::string& name) {
  std::optional<double> sum;
  std::istringstream lines{exposition};
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name) || (line[name.size()] != '{' && line[name.size()] != ' ')) continue;
    sum = sum.value_or(0) + std::stod(line.substr(line.rfind(' ') + 1));
  }
  return sum;
}

std::size_t occurrences(const std::string& log, const std::string& text) {
  std::size_t count = 0;
  for (auto at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) ++count;
  return count;
}

}  // namespace millrace::testing
