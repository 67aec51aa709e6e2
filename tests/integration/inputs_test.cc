// SPDX-License-Identifier: Apache-2.0
//
// Inputs that others write in transactions, and inputs whose partitions become more, on a real
// broker.
#include <array>
#include <boost/test/unit_test.hpp>
#include <set>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;
using Outcome = KafkaClientForTests::Outcome;

constexpr std::array kGuarantees{Guarantee::kAtLeastOnce, Guarantee::kExactlyOnce};

bool is_processed(CountJob& job, std::int64_t records) {
  return wait_until(
      [&] { return job.kafka.committed(job.application, job.input)[0].offset == records; },
      seconds{30});
}

// One task with two inputs, both read in the order of time: while one has records to come, those of
// the other wait.
class Tally final : public Processor<std::string, std::string, std::string, std::int64_t> {
 public:
  void process(const Record<std::string, std::string>& record, Context& context) override {
    auto store = context.store<std::string, std::int64_t>("tally");
    store.put(record.key(), store.get(record.key()).value_or(0) + 1);
  }
};

BOOST_AUTO_TEST_SUITE(inputs)

// The marker at the end of a transaction has an offset and is no record. Aborted records are none
// either.
BOOST_AUTO_TEST_CASE(an_input_that_ends_in_a_transaction_marker_holds_up_no_other) {
  for (const auto guarantee : kGuarantees) {
    for (const auto outcome : {Outcome::kCommit, Outcome::kAbort}) {
      BOOST_TEST_CONTEXT("guarantee " << static_cast<int>(guarantee) << ", outcome "
                                      << static_cast<int>(outcome)) {
        CountJob job{1};
        const std::string other = job.application + "-other";
        job.kafka.create_topic(other, 1);
        Topology topology;
        topology.store<std::string, std::int64_t>("tally");
        for (const auto& topic : {job.input, other})
          topology.stream(Topic<std::string, std::string>{topic}).process<Tally>(connects("tally"));
        LogLines log;
        auto config = count_config(job, "one", log);
        config.guarantee = guarantee;
        const auto lag = [](const App& app) {
          return metric(app.metrics_text(), "millrace_consumer_lag_records").value_or(-1);
        };
        {
          App app{topology, config};
          app.start();
          BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
          job.kafka.produce_transaction(other, {{"a", "v"}}, outcome);
          job.kafka.produce(job.input, {{"b", "v"}});
          BOOST_TEST_REQUIRE(is_processed(job, 1), log.text());
          BOOST_TEST(wait_until([&] { return lag(app) == 0; }, seconds{30}), app.metrics_text());
          app.stop();
        }
        // It begins at the marker that it has seen before.
        App app{topology, config};
        app.start();
        BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
        job.kafka.produce(job.input, {{"b", "v"}});
        BOOST_TEST_REQUIRE(is_processed(job, 2), log.text());
        BOOST_TEST((app.store<std::string, std::int64_t>("tally").get("b")).value_or(0) == 2);
        BOOST_TEST((app.store<std::string, std::int64_t>("tally").get("a")).value_or(0) ==
                   (outcome == Outcome::kCommit ? 1 : 0));
        app.stop();
        job.kafka.delete_topics({other, job.application + "-tally-changelog"});
      }
    }
  }
}

// F13
BOOST_AUTO_TEST_CASE(added_partitions_end_an_app_with_state_and_it_says_what_to_do) {
  CountJob job{2};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.kafka["topic.metadata.refresh.interval.ms"] = "200";
  job.produce(10, 10);
  App app{count_topology(job), config};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  job.kafka.add_partitions(job.input, 3);
  BOOST_TEST(!app.wait_for(AppState::kStopped, seconds{40}), log.text());
  BOOST_TEST((app.state() == AppState::kError), log.text());
  BOOST_TEST(app.error().starts_with(
                 "source topic '" + job.input +
                 "' had 2 partitions when this application started, and has at least 3 now; "),
             app.error());
  BOOST_TEST(app.error().ends_with("reset the application or recreate the topic"), app.error());
  BOOST_TEST(job.error_in_changelog() == "");
}

// F13: the group places the partitions of the other input only.
BOOST_AUTO_TEST_CASE(partitions_added_to_an_input_that_follows_another_end_the_app_by_name) {
  CountJob job{2};
  const std::string other = job.application + "-other";
  job.kafka.create_topic(other, 1);
  Topology topology;
  topology.store<std::string, std::int64_t>("tally");
  for (const auto& topic : {job.input, other})
    topology.stream(Topic<std::string, std::string>{topic}).process<Tally>(connects("tally"));
  LogLines log;
  auto config = count_config(job, "one", log);
  config.changelog_topic_configs = {{"min.compaction.lag.ms", "1000"}};  // Looks every 250 ms.
  App app{topology, config};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  job.kafka.add_partitions(other, 2);
  BOOST_TEST(!app.wait_for(AppState::kStopped, seconds{40}), log.text());
  BOOST_TEST((app.state() == AppState::kError), log.text());
  BOOST_TEST(app.error().starts_with(
                 "source topic '" + other +
                 "' had 1 partitions when this application started, and has at least 2 now; "),
             app.error());
  job.kafka.delete_topics({other, job.application + "-tally-changelog"});
}

// F13
BOOST_AUTO_TEST_CASE(added_partitions_end_an_app_without_state_and_the_next_start_reads_them) {
  for (const auto guarantee : kGuarantees) {
    BOOST_TEST_CONTEXT("guarantee " << static_cast<int>(guarantee)) {
      CountJob job{2};
      Topology topology;
      topology.stream(Topic<Bytes, Bytes>{job.input}).to(Topic<Bytes, Bytes>{job.output});
      LogLines log;
      auto config = count_config(job, "one", log);
      config.guarantee = guarantee;
      config.kafka["topic.metadata.refresh.interval.ms"] = "200";
      {
        App app{topology, config};
        app.start();
        BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
        job.kafka.produce(job.input, {{"a", "v", 0}, {"b", "v", 1}});
        BOOST_REQUIRE(job.wait_until_processed());
        job.kafka.add_partitions(job.input, 4);
        BOOST_TEST(!app.wait_for(AppState::kStopped, seconds{40}), log.text());
        BOOST_TEST((app.state() == AppState::kError), log.text());
        BOOST_TEST(app.error() ==
                       "source topic '" + job.input +
                           "' had 2 partitions when this application started, and has at least 4 "
                           "now; restart the application, which reads the new ones too",
                   app.error());
      }
      // A client that knows the new ones.
      KafkaClientForTests{}.produce(job.input, {{"c", "v", 0}, {"d", "v", 2}, {"e", "v", 3}});
      App app{topology, config};
      app.start();
      const std::multiset<std::string> expected{"a", "b", "c", "d", "e"};
      const auto output_keys = [&] {
        std::multiset<std::string> keys;
        for (const auto& record : job.kafka.read_all(job.output)) keys.insert(*record.key);
        return keys;
      };
      BOOST_TEST(wait_until([&] { return output_keys() == expected; }, seconds{30}), log.text());
      app.stop();
      BOOST_TEST((app.state() == AppState::kStopped), app.error());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
