// SPDX-License-Identifier: Apache-2.0
//
// What an application does to the topics of a real broker at its start, and how records lie in
// them.
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "millrace/millrace.h"
#include "runtime/clock_record.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

constexpr std::int64_t kSomeTime = 1'760'000'000'000;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

nlohmann::json recorded_hashes() {
  std::ifstream file(MILLRACE_SOURCE_DIR "/tests/conformance/data/recorded-vectors.json");
  return nlohmann::json::parse(file)["hashes"];
}

BOOST_AUTO_TEST_SUITE(topics)

// KS-10, KF-13, KF-18, KF-24
BOOST_AUTO_TEST_CASE(a_missing_changelog_is_created_compacted_with_the_partitions_of_the_source) {
  CountJob job{6};
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  app.start();
  BOOST_TEST(job.changelog == job.application + "-counts-changelog");
  BOOST_TEST(job.kafka.partitions(job.changelog) == 6);
  auto configs = job.kafka.configs(job.changelog);
  BOOST_TEST(configs["cleanup.policy"] == "compact");
  BOOST_TEST(configs["message.timestamp.type"] == "CreateTime");
  BOOST_TEST(configs["retention.ms"] == "-1");
  BOOST_TEST(configs["segment.bytes"] == "52428800");
  BOOST_TEST(configs["segment.ms"] == "9223372036854775807");
  BOOST_TEST(configs["min.compaction.lag.ms"] == "600000");
  app.stop();
}

// KF-16: the second start finds the changelog and goes on.
BOOST_AUTO_TEST_CASE(a_changelog_with_the_right_count_is_used_as_it_is) {
  CountJob job{3};
  job.kafka.create_topic(job.changelog, 3,
                         {{"cleanup.policy", "compact"}, {"segment.bytes", "1048576"}});
  job.produce(30, 10);
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  app.start();
  BOOST_TEST(job.wait_until_processed());
  app.stop();
  BOOST_TEST(job.error_in_changelog() == "");
  BOOST_TEST(job.kafka.configs(job.changelog)["segment.bytes"] == "1048576");
}

// KF-17
BOOST_AUTO_TEST_CASE(a_changelog_with_another_count_is_an_error_that_names_it_all) {
  CountJob job{4};
  job.kafka.create_topic(job.changelog, 3);
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  BOOST_TEST(app.check().size() == 1U);
  BOOST_CHECK_EXCEPTION(app.start(), ChangelogPartitionMismatchError,
                        [&](const ChangelogPartitionMismatchError& error) {
                          BOOST_TEST(error.code() == "changelog_partition_mismatch");
                          BOOST_TEST(error.changelog_topic == job.changelog);
                          BOOST_TEST(error.expected_partitions == 4);
                          BOOST_TEST(error.actual_partitions == 3);
                          BOOST_TEST(error.source_topics == std::vector<std::string>{job.input},
                                     boost::test_tools::per_element());
                          const std::string text = error.what();
                          for (const std::string& part :
                               {job.changelog, job.input, std::string{"4"}, std::string{"3"}}) {
                            BOOST_TEST(text.find(part) != std::string::npos, text);
                          }
                          return true;
                        });
  BOOST_TEST(job.kafka.partitions(job.changelog) == 3);
}

// KF-18
BOOST_AUTO_TEST_CASE(
    without_auto_create_topics_a_missing_changelog_is_an_error_and_nothing_is_created) {
  CountJob job{2};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.auto_create_topics = false;
  App app{count_topology(job), config};
  BOOST_CHECK_EXCEPTION(app.start(), ChangelogNotFoundError,
                        [&](const ChangelogNotFoundError& error) {
                          BOOST_TEST(error.changelog_topic == job.changelog);
                          BOOST_TEST(error.store_name == "counts");
                          return std::string{error.what()}.find(job.changelog) != std::string::npos;
                        });
  BOOST_TEST(job.kafka.partitions(job.changelog) == 0);
}

// KF-19
BOOST_AUTO_TEST_CASE(a_missing_source_topic_is_an_error_and_nothing_is_created) {
  CountJob job{2};
  job.kafka.delete_topics({job.input});
  BOOST_REQUIRE(wait_until([&] { return job.kafka.partitions(job.input) == 0; }, seconds{20}));
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  BOOST_CHECK_EXCEPTION(app.start(), SourceTopicNotFoundError,
                        [&](const SourceTopicNotFoundError& error) {
                          BOOST_TEST(error.topic == job.input);
                          BOOST_TEST(error.store_name == "counts");
                          const std::string text = error.what();
                          return text.find(job.input) != std::string::npos &&
                                 text.find("counts") != std::string::npos;
                        });
  BOOST_TEST(job.kafka.partitions(job.input) == 0);
  BOOST_TEST(job.kafka.partitions(job.changelog) == 0);

  auto process = job.start("one");
  BOOST_TEST(process->wait(seconds{60}).value_or(-1) == 1);
  BOOST_TEST(process->log().find(job.input) != std::string::npos, *process);
}

BOOST_AUTO_TEST_CASE(a_missing_output_topic_is_an_error) {
  CountJob job{2};
  job.kafka.delete_topics({job.output});
  BOOST_REQUIRE(wait_until([&] { return job.kafka.partitions(job.output) == 0; }, seconds{20}));
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  BOOST_CHECK_EXCEPTION(
      app.start(), SinkTopicNotFoundError,
      [&](const SinkTopicNotFoundError& error) { return error.topic == job.output; });
}

// KF-20
BOOST_AUTO_TEST_CASE(start_without_a_broker_fails_within_the_start_up_timeout) {
  CountJob job{1};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.bootstrap_servers = "127.0.0.1:1";  // Nobody listens on tcpmux.
  config.startup_timeout = std::chrono::milliseconds{1'500};
  App app{count_topology(job), config};
  const auto began = std::chrono::steady_clock::now();
  BOOST_CHECK_EXCEPTION(app.start(), BrokerUnavailableError,
                        [&](const BrokerUnavailableError& error) {
                          return std::string{error.what()}.find("127.0.0.1:1") != std::string::npos;
                        });
  // Far from the default of a minute, however busy the machine is.
  BOOST_CHECK(std::chrono::steady_clock::now() - began < seconds{30});

  auto process = job.start("two", {{"MILLRACE_BOOTSTRAP_SERVERS", "127.0.0.1:1"},
                                   {"MILLRACE_STARTUP_TIMEOUT_MS", "500"}});
  BOOST_TEST(process->wait(seconds{60}).value_or(-1) == 1);
}

BOOST_AUTO_TEST_CASE(a_stop_while_no_broker_answers_is_an_orderly_end) {
  CountJob job{1};
  auto process = job.start("one", {{"MILLRACE_BOOTSTRAP_SERVERS", "127.0.0.1:1"}});
  BOOST_TEST(process->wait_for_log("no broker answers", seconds{30}), *process);
  BOOST_TEST(process->stop().value_or(-1) == 0, *process);
}

// KF-14: two sources of one store; the wider one decides.
class Tally final : public Processor<std::string, std::string, std::string, std::int64_t> {
 public:
  void process(const Record<std::string, std::string>& record, Context& context) override {
    auto store = context.store<std::string, std::int64_t>("tally");
    store.put(record.key(), store.get(record.key()).value_or(0) + 1);
  }
};

BOOST_AUTO_TEST_CASE(merged_sources_give_the_changelog_the_larger_partition_count) {
  CountJob job{4};
  const std::string wide = job.application + "-wide";
  const std::string changelog = job.application + "-tally-changelog";
  job.kafka.create_topic(wide, 8);
  Topology topology;
  topology.store<std::string, std::int64_t>("tally");
  topology.stream(Topic<std::string, std::string>{job.input}).process<Tally>(connects("tally"));
  topology.stream(Topic<std::string, std::string>{wide}).process<Tally>(connects("tally"));
  LogLines log;
  App app{topology, count_config(job, "one", log)};
  app.start();
  BOOST_TEST(job.kafka.partitions(changelog) == 8);
  BOOST_TEST(app.wait_for(AppState::kRunning, seconds{30}));
  app.stop();
  job.kafka.delete_topics({wide, changelog});
}

// KF-15, KF-41
BOOST_AUTO_TEST_CASE(
    changelog_records_lie_in_the_partition_of_their_task_in_the_form_of_kafka_streams) {
  CountJob job{4};
  std::vector<NewRecord> records;
  std::map<std::string, std::int64_t> newest;
  for (int i = 0; i < 400; ++i) {
    const std::string key = "key-" + std::to_string(i % 40);
    // Time goes back in places: a key's changelog record carries its highest event time.
    const std::int64_t time = kSomeTime + (i * 7919) % 100'000;
    records.push_back({key, "v", {}, time});
    ++job.expected[key];
    newest[key] = std::max(newest[key], time);
  }
  job.kafka.produce(job.input, records);
  std::map<std::string, std::int32_t> place;
  for (const auto& record : job.kafka.read_all(job.input)) place[*record.key] = record.partition;
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  app.stop();

  std::map<std::string, std::int64_t> times;
  std::size_t seen = 0;
  job.kafka.read(job.changelog, [&](const StoredRecord& record) {
    if (!record.value) return;  // The reserved tombstone that begins a change set of old times.
    ++seen;
    BOOST_REQUIRE(record.key.has_value());
    BOOST_TEST(record.partition == place.at(*record.key));
    BOOST_TEST(record.value->size() == 8U);  // Without a timestamp in front.
    times[*record.key] = record.timestamp;
  });
  BOOST_TEST(seen >= 40U);
  BOOST_TEST(difference(newest, times) == "");
  BOOST_TEST(job.error_in_changelog() == "");
  BOOST_TEST(job.error_in_output() == "");
}

// Reference: durability, B6 (b): records of 10 s ago are old where compaction waits for 20 s.
BOOST_AUTO_TEST_CASE(the_changelogs_own_compaction_lag_says_which_change_sets_begin_with_the_time) {
  CountJob job{1};
  job.kafka.create_topic(job.changelog, 1,
                         {{"cleanup.policy", "compact"}, {"min.compaction.lag.ms", "20000"}});
  const std::int64_t then = to_millis(system_clock().now()) - 10'000;
  job.kafka.produce(job.input, {{"key", "v", {}, then}});
  ++job.expected["key"];
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  app.stop();
  const auto records = job.kafka.read_all(job.changelog);
  BOOST_REQUIRE(records.size() == 2U);
  BOOST_CHECK(records[0].key == kClockKey);
  BOOST_TEST(!records[0].value.has_value());
  BOOST_TEST(records[0].timestamp > then);
  BOOST_TEST(*records[1].key == "key");
  BOOST_TEST(job.error_in_changelog() == "");
}

// KF-44: where Java's producer puts a key is recorded in the vectors.
BOOST_AUTO_TEST_CASE(outputs_lie_where_javas_partitioner_puts_them) {
  CountJob job{1};
  const auto hashes = recorded_hashes();
  std::vector<NewRecord> records;
  std::map<std::string, std::int32_t> place;
  for (const auto& vector : hashes) {
    const std::string key = from_hex(vector["key_hex"].get<std::string>());
    records.push_back({key, "v"});
    place[key] = vector["partition_of"]["12"].get<std::int32_t>();
  }
  BOOST_REQUIRE(place.size() == 20U);
  const std::string output = job.application + "-twelve";
  job.kafka.create_topic(output, 12);
  job.kafka.produce(job.input, records);
  Topology topology;
  topology.stream(Topic<Bytes, std::string>{job.input}).to(Topic<Bytes, std::string>{output});
  LogLines log;
  App app{topology, count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  app.stop();
  std::map<std::string, std::int32_t> found;
  for (const auto& record : job.kafka.read_all(output)) found[*record.key] = record.partition;
  BOOST_CHECK(found == place);
  job.kafka.delete_topics({output});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
