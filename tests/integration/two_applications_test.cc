// SPDX-License-Identifier: Apache-2.0
//
// KS-23: two applications, which differ in their ids and in what they do, on one topic.
#include <boost/test/unit_test.hpp>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

// A transaction that a killed process left open is waited for.
constexpr seconds kStable{60};

// The other application of a job: a reducer that sums the bytes of keys and values, in a store of
// the name that the count's has, in the same state directory.
class Bytes {
 public:
  explicit Bytes(CountJob& job) : job_(job) {}
  ~Bytes() {
    job_.kafka.delete_topics({changelog});
    static_cast<void>(job_.kafka.admin().delete_group(application, seconds{5}));
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  [[nodiscard]] std::unique_ptr<App> start(const std::string& guarantee, LogLines& log) {
    Topology topology;
    topology.stream(Topic<std::string, std::string>{job_.input})
        .reduce<std::int64_t>(
            "counts", [](const auto& record, std::optional<std::int64_t> sum, auto&) {
              return sum.value_or(0) +
                     static_cast<std::int64_t>(record.key().size() + record.value().size());
            });
    Config config = count_config(job_, "shared", log);
    config.application_id = application;
    if (guarantee == "exactly_once") config.guarantee = Guarantee::kExactlyOnce;
    auto app = std::make_unique<App>(topology, config);
    app->start();
    return app;
  }

  /// All input that is there now is processed and committed.
  [[nodiscard]] bool processed() {
    const auto ends = job_.kafka.ends(job_.input);
    const auto offsets = job_.kafka.committed(application, job_.input);
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (offsets.at(i).offset.value_or(-1) < ends[i].high) return false;
    }
    return !ends.empty();
  }
  /// What is wrong with the store, and with the newest value of each key in the changelog.
  [[nodiscard]] std::string error(App& app) {
    Counts expected;
    for (const auto& [key, count] : job_.expected) {
      expected[key] = count * static_cast<std::int64_t>(key.size() + 1);
    }
    std::string wrong = difference(expected, stored_counts(app));
    return wrong.empty() ? difference(expected, job_.kafka.counts(changelog)) : wrong;
  }

  const std::string application = unique_name("it-bytes");
  const std::string changelog = application + "-counts-changelog";

 private:
  CountJob& job_;
};

std::vector<std::int64_t> offsets(CountJob& job, const std::string& group) {
  std::vector<std::int64_t> offsets;
  for (const auto& found : job.kafka.committed(group, job.input)) {
    offsets.push_back(found.offset.value_or(-1));
  }
  return offsets;
}

void require_exact(CountJob& job, Bytes& bytes, App& app) {
  BOOST_REQUIRE(job.wait_until_processed(kStable));
  BOOST_REQUIRE(wait_until([&] { return bytes.processed(); }, kStable));
  BOOST_TEST(job.error_in_output() == "");
  BOOST_TEST(job.error_in_changelog() == "");
  BOOST_TEST(bytes.error(app) == "");
}

BOOST_AUTO_TEST_SUITE(two_applications)

// KS-23
BOOST_AUTO_TEST_CASE(two_reducers_on_one_topic_are_exact_and_do_not_notice_each_other) {
  for (const std::string guarantee : {"at_least_once", "exactly_once"}) {
    BOOST_TEST_CONTEXT(guarantee) {
      CountJob job{4};
      Bytes bytes{job};
      const auto start_count = [&] {
        return job.start(
            "shared", {{"MILLRACE_GUARANTEE", guarantee}, {"MILLRACE_GROUP_INSTANCE_ID", "one"}});
      };
      LogLines log;
      auto count = start_count();
      auto app = bytes.start(guarantee, log);
      BOOST_TEST_REQUIRE(app->wait_for(AppState::kRunning, seconds{30}), log.text());
      BOOST_TEST_REQUIRE(count->wait_for_log("-> RUNNING", seconds{30}), *count);
      // Both at work, at once.
      Traffic traffic{job, 5'000, 500};
      const auto records = [&] {
        return metric(app->metrics_text(), "millrace_records_consumed_total").value_or(0);
      };
      BOOST_REQUIRE(wait_until([&] { return records() > 5'000; }, seconds{30}));
      BOOST_REQUIRE(wait_until([&] { return offsets(job, job.application)[0] > 0; }, kStable));

      // One is killed: the other goes on, and what the first has committed stays where it was.
      count->kill();
      const auto left = offsets(job, job.application);
      const double before = records();
      BOOST_TEST(wait_until([&] { return records() > before + 10'000; }, seconds{30}));
      BOOST_TEST((app->state() == AppState::kRunning));
      BOOST_TEST(occurrences(log.text(), "RUNNING -> ") == 0U, log.text());
      BOOST_TEST(metric(app->metrics_text(), "millrace_rebalances_total").value_or(0) == 1);
      BOOST_TEST((offsets(job, job.application) == left));
      BOOST_TEST(offsets(job, bytes.application)[0] > left[0]);
      count = start_count();
      BOOST_TEST_REQUIRE(count->wait_for_log("-> RUNNING", kStable), *count);
      traffic.stop();
      require_exact(job, bytes, *app);

      // The other is stopped: the first goes on, alone.
      app->stop();
      BOOST_TEST((app->state() == AppState::kStopped));
      const auto stopped = offsets(job, bytes.application);
      job.produce(5'000, 500);
      BOOST_REQUIRE(job.wait_until_processed(kStable));
      BOOST_TEST(job.error_in_output() == "");
      BOOST_TEST((offsets(job, bytes.application) == stopped));
      BOOST_TEST(!bytes.processed());
      app = bytes.start(guarantee, log);
      BOOST_TEST_REQUIRE(app->wait_for(AppState::kRunning, kStable), log.text());
      require_exact(job, bytes, *app);
      app->stop();
      BOOST_TEST(count->stop().value_or(-1) == 0, *count);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
