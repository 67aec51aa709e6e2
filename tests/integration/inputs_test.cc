// SPDX-License-Identifier: Apache-2.0
//
// Inputs that others write in transactions, on a real broker.
#include <array>
#include <boost/test/unit_test.hpp>

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

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
