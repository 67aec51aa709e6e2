// SPDX-License-Identifier: Apache-2.0
//
// What an App does about tasks that fail for good, about user functions that hang, and about what
// others write behind its back, on a real broker.
#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <future>
#include <stdexcept>

#include "millrace/millrace.h"
#include "runtime/partitioner.h"
#include "tests/actors/http_client.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

// A stored value that may come to be one that cannot be read.
struct Fragile {
  static inline std::atomic<bool> is_broken = false;
  std::int64_t number = 0;
};

}  // namespace
}  // namespace millrace::testing

template <>
struct millrace::Serde<millrace::testing::Fragile> {
  static void encode(const testing::Fragile& value, std::string& out) {
    Serde<std::int64_t>::encode(value.number, out);
  }
  static Result<testing::Fragile> decode(std::string_view bytes) {
    if (testing::Fragile::is_broken) throw std::runtime_error("not this one");
    return testing::Fragile{*Serde<std::int64_t>::decode(bytes)};
  }
};

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool has_parked_task(const App& app) {
  return contains(app.metrics_text(), "millrace_tasks{state=\"PARKED\"} 1");
}

HttpClient::Answer liveness(const App& app) {
  const auto address = app.http_address();
  const auto port = std::stoul(address.substr(address.rfind(':') + 1));
  return HttpClient{static_cast<std::uint16_t>(port)}.get("/livez");
}

// Memory that is opened only when it may be.
class HeldEngine final : public EngineFactory {
 public:
  std::string_view name() const override { return memory_->name(); }
  bool persistent() const override { return memory_->persistent(); }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    asked_for.set_value();
    released_.wait();
    return memory_->open(options);
  }

  std::promise<void> asked_for;
  std::promise<void> release;

 private:
  const std::shared_ptr<EngineFactory> memory_ = engines::memory();
  std::shared_future<void> released_ = release.get_future().share();
};

// Sums numbers by key; `look` sees each of them first.
Topology sums(const CountJob& job, std::function<void(std::int64_t)> look) {
  Topology topology;
  topology.stream(Topic<std::string, std::int64_t>{job.input})
      .reduce<std::int64_t>("counts",
                            [look](const auto& record, std::optional<std::int64_t> sum, auto&) {
                              look(record.value());
                              return sum.value_or(0) + record.value();
                            });
  return topology;
}

BOOST_AUTO_TEST_SUITE(supervision)

// F19, KS-21: a record that nobody can process costs its partition, not the others.
BOOST_AUTO_TEST_CASE(a_parked_task_keeps_its_place_while_the_others_go_on) {
  CountJob job{2};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.on_task_failure = TaskFailurePolicy::kPark;
  std::atomic<bool> broken = true;
  const auto topology = sums(job, [&broken](std::int64_t value) {
    if (value == 13 && broken) throw std::runtime_error("thirteen is not for me");
  });
  job.kafka.produce(job.input, {{"a", big_endian(1), 0}, {"a", big_endian(13), 0}});
  {
    App app{topology, config};
    app.start();
    BOOST_REQUIRE(wait_until([&] { return has_parked_task(app); }, seconds{30}));
    job.kafka.produce(job.input, {{"b", big_endian(5), 1}, {"a", big_endian(1), 0}});
    BOOST_TEST(
        wait_until([&] { return job.kafka.committed(job.application, job.input)[1].offset == 1; },
                   seconds{30}));
    BOOST_TEST((app.state() == AppState::kRestoring));  // Not ready, not ended.
    BOOST_TEST(contains(app.status_json(), "thirteen is not for me"), app.status_json());
    BOOST_TEST(contains(log.text(), "it is parked"), log.text());
    BOOST_CHECK_EXCEPTION(stored_counts(app), NotReadyError, [](const NotReadyError& error) {
      return error.reason == NotReadyReason::kStopped && contains(error.what(), "is parked");
    });
    // KF-33: it may be there, by another partitioner's choice.
    std::string elsewhere = "elsewhere";
    while (partition_of(elsewhere, 2) == 0) elsewhere += '.';
    BOOST_CHECK_THROW(
        static_cast<void>((app.store<std::string, std::int64_t>("counts").get(elsewhere))),
        NotReadyError);
    app.stop();
    BOOST_TEST((app.state() == AppState::kStopped), app.error());
  }
  BOOST_TEST(job.kafka.committed(job.application, job.input)[0].offset.value_or(0) <= 1);
  broken = false;
  App app{topology, config};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(difference({{"a", 15}, {"b", 5}}, stored_counts(app)) == "");
}

// The transaction of all tasks is given up with each attempt of the one that fails.
BOOST_AUTO_TEST_CASE(a_task_that_fails_for_good_parks_no_other_under_exactly_once) {
  CountJob job{4};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.guarantee = Guarantee::kExactlyOnce;
  config.on_task_failure = TaskFailurePolicy::kPark;
  job.kafka.produce(job.input, {{"a", big_endian(13), 0}});
  App app{sums(job,
               [](std::int64_t value) {
                 if (value == 13) throw std::runtime_error("thirteen is not for me");
               }),
          config};
  app.start();
  BOOST_REQUIRE(wait_until([&] { return has_parked_task(app); }, seconds{30}));
  for (int partition = 1; partition < 4; ++partition)
    job.kafka.produce(job.input, {{"b", big_endian(5), partition}});
  BOOST_TEST(wait_until(
      [&] {
        const auto offsets = job.kafka.committed(job.application, job.input);
        return std::count_if(offsets.begin(), offsets.end(),
                             [](const auto& offset) { return offset.offset == 1; }) == 3;
      },
      seconds{30}));
  BOOST_TEST(has_parked_task(app));
  BOOST_TEST(occurrences(log.text(), "it is parked") == 1U, log.text());
}

// F19: with one worker thread, which is the one that hangs.
BOOST_AUTO_TEST_CASE(a_function_that_hangs_is_found_by_the_watchdog_which_names_the_record) {
  CountJob job{1};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.threads = 1;
  config.http = "0";
  config.handler_timeout = milliseconds{300};
  std::promise<void> release;
  App app{sums(job,
               [released = release.get_future().share()](std::int64_t value) {
                 if (value == 3) released.wait();
               }),
          config};
  app.start();
  for (int i = 1; i <= 4; ++i) job.kafka.produce(job.input, {{"a", big_endian(i)}});
  BOOST_TEST(wait_until([&] { return liveness(app).status == 503; }, seconds{30}));
  BOOST_TEST(contains(liveness(app).body, "hangs in record " + job.input + "-0@2"));
  BOOST_TEST(contains(log.text(), "record " + job.input + "-0@2"), log.text());
  release.set_value();
  BOOST_TEST(wait_until([&] { return liveness(app).status == 200; }, seconds{30}));
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(difference({{"a", 10}}, stored_counts(app)) == "");
}

// Bounded revoke: what hangs may have every worker thread, and the group waits all the same.
BOOST_AUTO_TEST_CASE(a_revocation_is_heard_of_while_all_worker_threads_hang) {
  CountJob job{2};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.threads = 1;
  config.handler_timeout = milliseconds{300};
  std::promise<void> release;
  const auto released = release.get_future().share();
  App app{sums(job, [released](std::int64_t) { released.wait(); }), config};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  for (const int partition : {0, 1})
    job.kafka.produce(job.input, {{"a", big_endian(1), partition}});
  BOOST_TEST_REQUIRE(wait_until(
      [&] { return contains(app.metrics_text(), "millrace_tasks_hanging 1"); }, seconds{30}));
  LogLines others_log;
  App other{sums(job, [](std::int64_t) {}), count_config(job, "other", others_log)};
  other.start();
  const bool heard =
      wait_until([&] { return contains(log.text(), "revoked 1 partitions"); }, seconds{30});
  BOOST_TEST(heard, log.text());
  release.set_value();
  BOOST_TEST(job.wait_until_processed());
  other.stop();
  app.stop();
  BOOST_TEST((app.state() == AppState::kStopped), app.error());
}

// Durability, B6 (a): nothing is processed here while and after a zombie writes.
BOOST_AUTO_TEST_CASE(an_idle_app_writes_again_what_a_zombie_has_overwritten) {
  for (const Guarantee guarantee : {Guarantee::kAtLeastOnce, Guarantee::kExactlyOnce}) {
    CountJob job{1};
    LogLines log;
    auto config = count_config(job, "one", log);
    config.guarantee = guarantee;
    config.changelog_topic_configs = {{"min.compaction.lag.ms", "1000"}};
    App app{count_topology(job), config};
    app.start();
    job.produce(100, 10);
    BOOST_REQUIRE(job.wait_until_processed());
    job.kafka.produce_transaction(job.changelog, {{"key-7", big_endian(99)}, {"new", ""}});
    BOOST_TEST(wait_until([&] { return job.error_in_changelog() == ""; }, seconds{30}),
               job.error_in_changelog() << log.text());
    BOOST_TEST(contains(log.text(), "records of another writer"), log.text());
    BOOST_TEST(job.error_in_output() == "");
    app.stop();
    BOOST_TEST(job.error_in_changelog() == "");
  }
}

BOOST_AUTO_TEST_CASE(an_app_that_stops_leaves_no_tail_of_others_behind) {
  for (const Guarantee guarantee : {Guarantee::kAtLeastOnce, Guarantee::kExactlyOnce}) {
    CountJob job{2};
    LogLines log;
    auto config = count_config(job, "one", log);
    config.guarantee = guarantee;
    App app{count_topology(job), config};
    app.start();
    job.produce(100, 10);
    BOOST_REQUIRE(job.wait_until_processed());
    job.kafka.produce_transaction(job.changelog, {{"key-7", big_endian(99)}, {"new", ""}});
    // Its end may reach the partitions after the client has its answer.
    BOOST_REQUIRE(wait_until(
        [&] { return job.kafka.stable_ends(job.changelog) == job.kafka.ends(job.changelog); },
        seconds{30}));
    app.stop();
    BOOST_TEST((app.state() == AppState::kStopped), app.error());
    BOOST_TEST(job.error_in_changelog() == "", log.text());
  }
}

// Bounded revoke: what waits for its turn to be restored goes at once, however long the restores
// before it take.
BOOST_AUTO_TEST_CASE(a_task_that_waits_for_its_restore_is_handed_over_at_once) {
  CountJob job{1};
  const Topic<std::string, std::int64_t> first{job.input};
  const Topic<std::string, std::int64_t> second{job.output};
  const auto held = std::make_shared<HeldEngine>();
  Topology both;
  both.stream(first).group_by_key().count(StoreOptions{"first"}.engine(held));
  both.stream(second).group_by_key().count("second");
  LogLines log;
  auto config = count_config(job, "both", log);
  config.restore_threads = 1;
  App app{both, config};
  app.start();
  held->asked_for.get_future().wait();

  Topology alone;
  alone.stream(second).group_by_key().count("second");
  App other{alone, count_config(job, "alone", log)};
  other.start();
  BOOST_TEST(
      wait_until(
          [&] { return contains(other.metrics_text(), "millrace_tasks{state=\"RUNNING\"} 1"); },
          seconds{30}),
      log.text());
  held->release.set_value();
  other.stop();
  app.stop();
  BOOST_TEST((app.state() == AppState::kStopped), app.error());
}

// KS-21: what has run here a moment ago does not wait for what is read from the beginning.
BOOST_AUTO_TEST_CASE(a_task_that_failed_starts_again_while_another_is_still_restored) {
  CountJob job{1};
  const Topic<std::string, std::int64_t> second{job.output};
  const auto held = std::make_shared<HeldEngine>();
  std::atomic<bool> has_thrown = false;
  auto both = sums(job, [&](std::int64_t value) {
    if (value == 13 && !has_thrown.exchange(true)) throw std::runtime_error("not yet");
  });
  both.stream(second).group_by_key().count(StoreOptions{"second"}.engine(held));
  LogLines log;
  auto config = count_config(job, "both", log);
  config.restore_threads = 1;
  App app{both, config};
  app.start();
  held->asked_for.get_future().wait();
  job.kafka.produce(job.input, {{"a", big_endian(13)}});
  BOOST_TEST(job.wait_until_processed(), log.text());
  BOOST_TEST(has_thrown);
  held->release.set_value();
  app.stop();
  BOOST_TEST((app.state() == AppState::kStopped), app.error());
}

BOOST_AUTO_TEST_CASE(a_serde_that_throws_on_a_stored_value_fails_its_task_by_name) {
  for (const Guarantee guarantee : {Guarantee::kAtLeastOnce, Guarantee::kExactlyOnce}) {
    CountJob job{1};
    LogLines log;
    auto config = count_config(job, "one", log);
    config.guarantee = guarantee;
    config.engine = "memory";
    Topology topology;
    topology.stream(Topic<std::string, std::int64_t>{job.input})
        .reduce<Fragile>("fragile", [](const auto& record, std::optional<Fragile>, auto&) {
          return Fragile{record.value()};
        });
    for (const bool broken : {false, true}) {
      Fragile::is_broken = broken;
      job.kafka.produce(job.input, {{"a", big_endian(1)}});
      App app{topology, config};
      app.start();
      if (!broken) {
        BOOST_REQUIRE(job.wait_until_processed());
        continue;
      }
      BOOST_TEST(wait_until([&] { return app.state() == AppState::kError; }, seconds{30}));
      BOOST_TEST(contains(app.error(), "its serde threw: not this one"), app.error());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
