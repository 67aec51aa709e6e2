// SPDX-License-Identifier: Apache-2.0
//
// Records that cannot be processed, on a real broker: each policy lets the partition go on, and the
// offsets say so. faults.md F19.
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <stdexcept>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using namespace std::chrono_literals;
using std::chrono::seconds;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Sums numbers per key and writes each sum; 3 is not for it, and 5 not at first.
Topology sums(const CountJob& job, std::shared_ptr<std::atomic<int>> failures_of_5,
              SourceOptions options) {
  Topology topology;
  const Topic<std::string, std::string> large{job.output};
  topology.stream(Topic<std::string, std::int64_t>{job.input}, std::move(options))
      .reduce<std::int64_t>(
          "counts",
          [failures_of_5, large](const auto& record, std::optional<std::int64_t> sum,
                                 auto& context) {
            context.react(large, record.key(),
                          std::string(record.value() == 4 ? 2'000'000 : 1, 'x'));
            if (record.value() == 3) throw std::runtime_error("three is not for me");
            if (record.value() == 5 && (*failures_of_5)-- > 0) throw std::runtime_error("not yet");
            return sum.value_or(0) + record.value();
          },
          reacts_to(large));
  return topology;
}

BOOST_AUTO_TEST_SUITE(dead_letters)

// KS-21: every kind of bad record is given up by policy, and the partition goes on.
void give_up_bad_records(Guarantee guarantee) {
  for (const auto policy : {ErrorPolicy::kSkip, ErrorPolicy::kDeadLetter}) {
    CountJob job{2};
    const std::string topic = job.application + "-dead-letter";
    const std::string undecodable{"b\0d", 3};
    job.kafka.produce(job.input, {{"a", big_endian(1), 1, 1000},
                                  {"a", undecodable, 1, 2000, {{"trace", "abc"}}},
                                  {"a", big_endian(3), 1, 3000},
                                  {"a", big_endian(4), 1, 4000},
                                  {"a", big_endian(5), 1, 5000},
                                  {"a", big_endian(6), 1, 6000}});
    const auto failures_of_5 = std::make_shared<std::atomic<int>>(2);
    LogLines log;
    auto config = count_config(job, "one", log);
    config.guarantee = guarantee;
    config.error_retries = 2;
    config.error_retry_backoff = 10ms;
    App app{sums(job, failures_of_5,
                 {.on_decode_error = policy, .on_error = policy, .on_produce_error = policy}),
            config};
    app.start();
    const bool processed = job.wait_until_processed();
    BOOST_TEST_REQUIRE(processed, log.text());
    BOOST_TEST(difference({{"a", 12}}, stored_counts(app)) == "");
    const std::string metrics = app.metrics_text();
    BOOST_TEST(metric(metrics, "millrace_records_dropped_total").value_or(0) == 3);
    BOOST_TEST(metric(metrics, "millrace_record_retries_total").value_or(0) == 4);  // 3 and 5.
    app.stop();
    BOOST_TEST(job.kafka.committed(job.application, job.input)[1].offset.value_or(0) == 6);
    BOOST_TEST(job.kafka.read_all(job.output).size() == 3U);
    BOOST_TEST(!contains(log.text(), "failed ("), log.text());
    if (policy == ErrorPolicy::kSkip) {
      BOOST_TEST(job.kafka.partitions(topic) == 0);
      continue;
    }
    BOOST_TEST(job.kafka.partitions(topic) == 2);
    BOOST_TEST(job.kafka.configs(topic).at("message.timestamp.type") == "LogAppendTime");
    const auto letters = job.kafka.read_all(topic);
    BOOST_REQUIRE(letters.size() == 3U);
    const std::vector<std::string> values{undecodable, big_endian(3), big_endian(4)};
    const std::vector<std::string> operators{
        "KSTREAM-SOURCE-0000000000", "KSTREAM-REDUCE-0000000001", "KSTREAM-REDUCE-0000000001"};
    for (std::size_t i = 0; i < letters.size(); ++i) {
      BOOST_TEST(letters[i].partition == 1);
      BOOST_TEST(*letters[i].key == "a");
      BOOST_TEST((*letters[i].value == values[i]));
      std::map<std::string, std::string> why{letters[i].headers.begin(), letters[i].headers.end()};
      BOOST_TEST(why["__streams.errors.topic"] == job.input);
      BOOST_TEST(why["__streams.errors.partition"] == "1");
      BOOST_TEST(why["__streams.errors.offset"] == std::to_string(i + 1));
      BOOST_TEST(why["millrace.error.timestamp"] == std::to_string((i + 2) * 1000));
      BOOST_TEST(why["millrace.error.attempts"] == (i == 1 ? "3" : "1"));
      BOOST_TEST(why["millrace.error.operator"] == operators[i]);
      BOOST_TEST(why["trace"] == (i == 0 ? "abc" : ""));
    }
    job.kafka.delete_topics({topic});
  }
}

BOOST_AUTO_TEST_CASE(bad_records_are_given_up_by_policy_and_the_partition_goes_on) {
  give_up_bad_records(Guarantee::kAtLeastOnce);
}

// The letters are in the transaction of their records' offsets.
BOOST_AUTO_TEST_CASE(bad_records_are_given_up_by_policy_under_exactly_once_too) {
  give_up_bad_records(Guarantee::kExactlyOnce);
}

BOOST_AUTO_TEST_CASE(a_missing_dead_letter_topic_is_an_error_with_the_line_that_creates_it) {
  CountJob job{2};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.auto_create_topics = false;
  config.on_error = ErrorPolicy::kDeadLetter;
  Topology topology;
  topology.stream(Topic<std::string, std::string>{job.input})
      .to(Topic<std::string, std::string>{job.output});
  const std::string topic = job.application + "-dead-letter";
  {
    App app{topology, config};
    try {
      app.start();
      BOOST_FAIL("started");
    } catch (const DeadLetterTopicNotFoundError& error) {
      BOOST_TEST(error.topic == topic);
      BOOST_TEST(contains(error.what(), "--create --topic " + topic), error.what());
    }
    const auto problems = app.check();
    BOOST_REQUIRE(problems.size() == 1U);
    BOOST_TEST(contains(problems[0], topic), problems[0]);
    BOOST_TEST(job.kafka.partitions(topic) == 0);
    // The same object starts once the topic is there.
    job.kafka.create_topic(topic, 1);
    app.start();
    BOOST_TEST(app.wait_for(AppState::kRunning, seconds{30}));
  }
  job.kafka.delete_topics({topic});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
