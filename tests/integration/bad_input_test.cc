// SPDX-License-Identifier: Apache-2.0
//
// Records and local files that are not as they should be, on a real broker: a clear error or the
// policy that was asked for, and nothing lost.
#include <sys/mount.h>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

BOOST_AUTO_TEST_SUITE(bad_input)

Topology sums(const CountJob& job, std::function<void(std::int64_t)> look = {}) {
  Topology topology;
  topology.stream(Topic<std::string, std::int64_t>{job.input})
      .reduce<std::int64_t>("counts",
                            [look](const auto& record, std::optional<std::int64_t> sum, auto&) {
                              if (look) look(record.value());
                              return sum.value_or(0) + record.value();
                            });
  return topology;
}

BOOST_AUTO_TEST_CASE(a_label_that_prometheus_does_not_know_is_refused_by_its_name) {
  CountJob job{1};
  LogLines log;
  for (const std::string name : {"0a", "le", "__name__"}) {
    auto config = count_config(job, "one", log);
    config.metric_labels = {{name, "x"}};
    App app{sums(job), config};
    BOOST_CHECK_EXCEPTION(app.start(), ConfigError, [&](const ConfigError& error) {
      return contains(error.what(), "metric_labels." + name);
    });
  }
}

// KS-21
BOOST_AUTO_TEST_CASE(
    a_record_that_cannot_be_decoded_stops_the_app_with_its_place_under_the_policy_fail) {
  CountJob job{1};
  job.kafka.produce(
      job.input, {{"a", big_endian(1)}, {"a", big_endian(2)}, {"a", "bad"}, {"a", big_endian(4)}});
  LogLines log;
  const auto config = count_config(job, "one", log);  // One restart.
  App app{sums(job), config};
  app.start();
  BOOST_TEST(wait_until([&] { return app.state() == AppState::kError; }, seconds{30}));
  BOOST_TEST(contains(app.error(), job.input + "-0@2"), app.error());
  BOOST_TEST(occurrences(log.text(), "failed (1 of 1)") == 1U, log.text());
  app.stop();
  BOOST_TEST(job.kafka.committed(job.application, job.input)[0].offset.value_or(-1) <= 2);

  // The same records with another policy: nothing was lost, nothing is counted twice.
  auto skipping = config;
  skipping.on_decode_error = ErrorPolicy::kSkip;
  App second{sums(job), skipping};
  second.start();
  BOOST_REQUIRE(job.wait_until_processed());
  job.expected = {{"a", 7}};
  BOOST_TEST(difference(job.expected, stored_counts(second)) == "");
  BOOST_TEST(contains(second.metrics_text(), "reason=\"decode_error\""), second.metrics_text());
  BOOST_TEST(metric(second.metrics_text(), "millrace_records_dropped_total").value_or(0) == 1);
  second.stop();
  BOOST_TEST(job.error_in_changelog() == "");
}

BOOST_AUTO_TEST_CASE(an_example_that_meets_a_bad_record_exits_with_1_and_names_it) {
  CountJob job{1};
  job.kafka.produce(job.input, {{"u", "{\"name\":\"U\"}"}, {"u", "this is no JSON"}});
  const Environment settings{{"MILLRACE_TASK_RESTART_LIMIT", "1"},
                             {"MILLRACE_TASK_RESTART_BACKOFF_MS", "20"}};
  auto process = job.start("one", settings, "01_hello_reducer");
  BOOST_TEST(process->wait(seconds{60}).value_or(-1) == 1);
  BOOST_TEST(contains(process->log(), job.input + "-0@1"), *process);
  job.kafka.delete_topics({job.application + "-user-counts-changelog"});
}

// KS-20, FC F22: null key, null value, empty key, 1 MB.
BOOST_AUTO_TEST_CASE(null_and_empty_and_large_records_are_counted_or_dropped_as_documented) {
  CountJob job{2};
  const std::string large(1'000'000,
                          'x');  // The broker takes 1,048,588 bytes with the batch's header.
  job.kafka.produce(job.input, {{std::nullopt, "no key", 0},
                                {std::nullopt, "no key", 1},
                                {"a", std::nullopt},
                                {"", "empty key"},
                                {"", "empty key"},
                                {"a", ""},
                                {"a", large},
                                {"b", "v"}});
  job.expected = {{"", 2}, {"a", 2}, {"b", 1}};
  auto process = job.start("one");
  BOOST_REQUIRE(job.wait_until_processed());
  const std::string metrics = process->get("/metrics").body;
  BOOST_TEST(metric(metrics, "millrace_records_dropped_total").value_or(0) == 3);
  BOOST_TEST(process->stop().value_or(-1) == 0);
  BOOST_TEST(job.error_in_output() == "");
  BOOST_TEST(job.error_in_changelog() == "");
  for (const std::string& topic : {job.output, job.changelog}) {
    for (const auto& record : job.kafka.read_all(topic)) BOOST_TEST(record.key.has_value());
  }
}

// A record that no broker takes: by the client's limit, and by the broker's.
BOOST_AUTO_TEST_CASE(an_output_larger_than_the_limit_stops_the_app_with_a_clear_error) {
  for (const std::string limit : {"", "8000000"}) {
    CountJob job{1};
    job.kafka.produce(job.input, {{"a", "v"}});
    Topology topology;
    topology.stream(Topic<std::string, std::string>{job.input})
        .map_values([](const std::string&) { return std::string(3'000'000, 'x'); })
        .to(Topic<std::string, std::string>{job.output});
    LogLines log;
    auto config = count_config(job, "one", log);
    if (!limit.empty()) {
      config.kafka["message.max.bytes"] = limit;
      config.kafka["compression.type"] = "none";
    }
    App app{topology, config};
    app.start();
    BOOST_TEST(wait_until([&] { return app.state() == AppState::kError; }, seconds{30}),
               "limit " << limit << ": " << log.text());
    BOOST_TEST_MESSAGE(app.error());
    BOOST_TEST(contains(app.error(), job.output), app.error());
    BOOST_TEST((contains(app.error(), "large") || contains(app.error(), "size")), app.error());
    app.stop();
    BOOST_TEST(job.kafka.committed(job.application, job.input)[0].offset.value_or(0) == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_handler_that_throws_stops_the_app_or_is_skipped_by_policy) {
  CountJob job{1};
  for (int i = 1; i <= 5; ++i) job.kafka.produce(job.input, {{"a", big_endian(i)}});
  const auto thrower = [](std::int64_t value) {
    if (value == 3) throw std::runtime_error("three is not for me");
  };
  LogLines log;
  auto config = count_config(job, "one", log);
  {
    App app{sums(job, thrower), config};
    app.start();
    BOOST_TEST(wait_until([&] { return app.state() == AppState::kError; }, seconds{30}));
    BOOST_TEST(contains(app.error(), job.input + "-0@2"), app.error());
    BOOST_TEST(contains(app.error(), "three is not for me"), app.error());
  }
  config.on_error = ErrorPolicy::kSkip;
  App app{sums(job, thrower), config};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(difference({{"a", 12}}, stored_counts(app)) == "");
}

// A fault that goes away: the task starts again from its commit point, and nothing is done twice.
BOOST_AUTO_TEST_CASE(a_handler_that_throws_once_costs_a_restart_and_nothing_else) {
  CountJob job{1};
  auto failures = std::make_shared<std::atomic<int>>(1);
  for (int i = 1; i <= 100; ++i) job.kafka.produce(job.input, {{"a", big_endian(i)}});
  LogLines log;
  App app{sums(job,
               [failures](std::int64_t value) {
                 if (value == 50 && (*failures)-- > 0) throw std::runtime_error("once");
               }),
          count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(difference({{"a", 5050}}, stored_counts(app)) == "");
  BOOST_TEST(occurrences(log.text(), "failed (1 of 1)") == 1U, log.text());
}

std::vector<fs::path> files_of_engine(const fs::path& state_dir, const std::string& name_part) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator{state_dir}) {
    if (entry.is_regular_file() && contains(entry.path().filename().string(), name_part))
      files.push_back(entry.path());
  }
  return files;
}

void flip_bytes(const fs::path& file) {
  std::fstream bytes{file, std::ios::in | std::ios::out | std::ios::binary};
  const auto size = static_cast<std::streamoff>(fs::file_size(file));
  for (std::streamoff at = 0; at < size; at += 97) {
    bytes.seekg(at);
    const char byte = static_cast<char>(bytes.get());
    bytes.seekp(at);
    bytes.put(static_cast<char>(~byte));
  }
}

// faults.md F17
BOOST_AUTO_TEST_CASE(a_damaged_state_directory_is_rebuilt_with_a_warning_and_counts_are_exact) {
  CountJob job{2};
  using Damage = std::function<void(const fs::path&)>;
  const std::vector<std::tuple<std::string, std::string, Damage>> damages{
      {"flipped bytes in tables", ".sst", flip_bytes},
      {"tables cut short", ".sst",
       [](const fs::path& file) { fs::resize_file(file, fs::file_size(file) / 2); }},
      {"no tables", ".sst", [](const fs::path& file) { fs::remove(file); }},
      {"flipped bytes in the manifest", "MANIFEST", flip_bytes},
      {"an empty CURRENT", "CURRENT", [](const fs::path& file) { fs::resize_file(file, 0); }},
  };
  const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "one"},
                             {"MILLRACE_CHECKPOINT_INTERVAL_MS", "60000"}};
  for (const auto& [what, name_part, damage] : damages) {
    job.produce(60'000, 60'000);  // Enough changes at the end of the process for tables.
    auto process = job.start("one", settings);
    BOOST_REQUIRE(job.wait_until_processed());
    BOOST_TEST_REQUIRE(process->stop().value_or(-1) == 0, what << ": " << *process);
    const auto files = files_of_engine(job.state_dir("one"), name_part);
    BOOST_TEST_REQUIRE(!files.empty(), what);
    for (const auto& file : files) damage(file);
    job.produce(5'000, 5'000);
    process = job.start("one", settings);
    BOOST_TEST_REQUIRE(job.wait_until_processed(), what << ": " << *process);
    BOOST_TEST(process->stop().value_or(-1) == 0, what << ": " << *process);
    BOOST_TEST(contains(process->log(), "rebuilt from the changelog"), what << ": " << *process);
    BOOST_TEST(job.error_in_output() == "", what);
    BOOST_TEST(job.error_in_changelog() == "", what);
  }
}

// F17: damage in blocks that no start reads.
BOOST_AUTO_TEST_CASE(damage_that_is_found_while_records_are_processed_is_rebuilt_at_once) {
  CountJob job{2};
  const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "one"},
                             {"MILLRACE_CHECKPOINT_INTERVAL_MS", "60000"},
                             {"MILLRACE_TASK_RESTART_LIMIT", "1"}};
  job.produce(60'000, 60'000);
  auto process = job.start("one", settings);
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST_REQUIRE(process->stop().value_or(-1) == 0, *process);
  auto tables = files_of_engine(job.state_dir("one"), ".sst");
  // Every start reads the small ones, which hold positions.
  std::erase_if(tables, [](const fs::path& table) { return fs::file_size(table) < 100'000; });
  BOOST_REQUIRE(!tables.empty());
  for (const auto& table : tables) {
    std::fstream bytes{table, std::ios::in | std::ios::out | std::ios::binary};
    const auto end = static_cast<std::streamoff>(fs::file_size(table) / 3);
    for (std::streamoff at = 100; at < end; at += 1000) {
      bytes.seekg(at);
      const char byte = static_cast<char>(bytes.get());
      bytes.seekp(at);
      bytes.put(static_cast<char>(~byte));
    }
  }
  process = job.start("one", settings);
  BOOST_TEST_REQUIRE(process->wait_for_log("-> RUNNING", seconds{60}), *process);
  BOOST_TEST(!contains(process->log(), "rebuilt from the changelog"), *process);
  job.produce(60'000, 60'000);
  BOOST_TEST_REQUIRE(job.wait_until_processed(), *process);
  BOOST_TEST(contains(process->log(), "damaged and is rebuilt from the changelog"), *process);
  BOOST_TEST(process->stop().value_or(-1) == 0, *process);
  BOOST_TEST(job.error_in_output() == "");
  BOOST_TEST(job.error_in_changelog() == "");
}

// A small file system of its own.
class SmallDisk {
 public:
  explicit SmallDisk(fs::path path) : path_(std::move(path)) {
    fs::create_directories(path_);
    if (::mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=48m,mode=0700") != 0) {
      throw std::runtime_error("cannot mount a tmpfs on " + path_.string() +
                               "; this test needs root");
    }
  }
  ~SmallDisk() { ::umount2(path_.c_str(), MNT_DETACH); }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  void fill() {
    std::ofstream file{path_ / "filler", std::ios::binary};
    const std::string block(4096, 'f');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void free() { fs::remove(path_ / "filler"); }

 private:
  fs::path path_;
};

// faults.md F14
BOOST_AUTO_TEST_CASE(a_full_disk_is_said_and_loses_nothing) {
  CountJob job{2};
  SmallDisk disk{job.state_dir("one")};
  const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "one"},
                             {"MILLRACE_CHECKPOINT_INTERVAL_MS", "2000"},
                             {"MILLRACE_TASK_RESTART_LIMIT", "3"},
                             {"MILLRACE_TASK_RESTART_BACKOFF_MS", "50"}};
  job.produce(2'000, 1'000);
  auto process = job.start("one", settings);
  BOOST_REQUIRE(job.wait_until_processed());
  disk.fill();
  job.produce(200'000, 200'000);  // A checkpoint of more than what is set aside for the log.
  const auto said = [&] {
    const std::string log = process->log();
    return contains(log, "No space left") || contains(log, "disk is full") ||
           contains(log, "no space");
  };
  BOOST_TEST(wait_until(said, seconds{40}), *process);
  // It ends with an error or carries on: either way nothing is lost when there is room again.
  const auto ended = process->wait(seconds{5});
  if (ended) BOOST_TEST(*ended == 1);
  BOOST_TEST_MESSAGE((ended ? "ended: " : "went on: ") << *process);
  disk.free();
  if (ended) process = job.start("one", settings);
  BOOST_TEST_REQUIRE(job.wait_until_processed(), *process);
  BOOST_TEST_REQUIRE(wait_until([&] { return process->get("/readyz").status == 200; }, seconds{60}),
                     *process);
  BOOST_TEST(process->stop().value_or(-1) == 0, *process);
  BOOST_TEST(job.error_in_output() == "");
  BOOST_TEST(job.error_in_changelog() == "");
  // What is on the disk is right as well.
  process = job.start("one", settings);
  job.produce(20'000, 20'000);
  BOOST_TEST_REQUIRE(job.wait_until_processed(), *process);
  BOOST_TEST(job.error_in_output() == "");
  BOOST_TEST(job.error_in_changelog() == "");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
