// SPDX-License-Identifier: Apache-2.0
//
// What stores say of their changelogs, as a real broker then has it: names, configs, replication,
// creation; and stores that start empty.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <optional>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

// Counts a job's input in each of `stores`, and writes the first one's to its output.
Topology counting(const CountJob& job, const std::vector<StoreOptions>& stores) {
  Topology topology;
  const auto stream = topology.stream(Topic<std::string, std::string_view>{job.input});
  for (const auto& store : stores) {
    const auto table = stream.group_by_key().count(store);
    if (&store == &stores.front())
      table.to_stream().to(Topic<std::string, std::int64_t>{job.output});
  }
  return topology;
}

Counts counted(App& app, const std::string& store) {
  Counts counts;
  for (const auto& entry : app.store<std::string, std::int64_t>(store).all())
    counts[entry.key] = entry.value;
  return counts;
}

// All records of the input counted in a run of its own, in this process.
void run_once(CountJob& job, const Topology& topology, LogLines& log,
              const std::function<void(App&)>& look) {
  App app{topology, count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  look(app);
  app.stop();
}

BOOST_AUTO_TEST_SUITE(store_changelogs)

// KF-21, KF-22
BOOST_AUTO_TEST_CASE(configs_of_all_changelogs_come_from_the_config_and_a_store_overrides_them) {
  CountJob job{2};
  const std::string own = job.application + "-my-log";
  const auto topology = counting(
      job, {"counts",
            StoreOptions{"own"}.changelog({.topic = own,
                                           .topic_configs = {{"segment.bytes", "1048576"},
                                                             {"min.compaction.lag.ms", "7000"}}})});
  LogLines log;
  auto config = count_config(job, "one", log);
  config.replication_factor = 1;
  config.changelog_topic_configs = {{"segment.bytes", "2097152"}, {"max.message.bytes", "500000"}};
  App app{topology, config};
  app.start();
  auto global = job.kafka.configs(job.changelog);
  BOOST_TEST(global["segment.bytes"] == "2097152");
  BOOST_TEST(global["max.message.bytes"] == "500000");
  BOOST_TEST(global["min.compaction.lag.ms"] == "600000");
  auto overridden = job.kafka.configs(own);
  BOOST_TEST(overridden["segment.bytes"] == "1048576");
  BOOST_TEST(overridden["max.message.bytes"] == "500000");
  BOOST_TEST(overridden["min.compaction.lag.ms"] == "7000");
  BOOST_TEST(overridden["cleanup.policy"] == "compact");
  BOOST_TEST(job.kafka.partitions(own) == 2);
  BOOST_TEST(job.kafka.partitions(job.application + "-own-changelog") == 0);
  app.stop();
  job.kafka.delete_topics({own});
}

// KF-21, KF-22: a broker on its own refuses more replicas than one.
BOOST_AUTO_TEST_CASE(
    a_replication_factor_of_the_config_reaches_the_broker_and_that_of_a_store_wins) {
  CountJob job{1};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.replication_factor = 2;
  App refused{counting(job, {"counts"}), config};
  BOOST_CHECK_EXCEPTION(refused.start(), StatusError, [&](const StatusError& error) {
    const std::string text = error.what();
    return text.find(job.changelog) != std::string::npos &&
           text.find("INVALID_REPLICATION_FACTOR") != std::string::npos;
  });
  BOOST_TEST(job.kafka.partitions(job.changelog) == 0);
  App app{counting(job, {StoreOptions{"counts"}.changelog({.replication_factor = 1})}), config};
  BOOST_CHECK_NO_THROW(app.start());
  BOOST_TEST(job.kafka.partitions(job.changelog) == 1);
  app.stop();
}

// KF-22
BOOST_AUTO_TEST_CASE(a_changelog_of_its_own_name_holds_the_state_and_restores_it) {
  CountJob job{2};
  const std::string own = job.application + "-my-log";
  const auto topology = counting(job, {StoreOptions{"counts"}.changelog({.topic = own})});
  LogLines log;
  job.produce(500, 50);
  run_once(job, topology, log, [](App&) {});
  BOOST_TEST(difference(job.expected, job.kafka.counts(own)) == "");
  BOOST_TEST(job.kafka.partitions(job.changelog) == 0);
  job.wipe("one");
  job.produce(500, 70);
  run_once(job, topology, log,
           [&](App& app) { BOOST_TEST(difference(job.expected, counted(app, "counts")) == ""); });
  BOOST_TEST(replayed_records(log.text()) >= 50);
  BOOST_TEST(difference(job.expected, job.kafka.counts(own)) == "");
  job.kafka.delete_topics({own});
}

// KF-22, KF-18: the error has what it takes to create the topic.
BOOST_AUTO_TEST_CASE(a_store_may_forbid_to_create_its_changelog_and_the_error_says_how_to) {
  CountJob job{3};
  const auto topology = counting(
      job, {StoreOptions{"counts"}.changelog({.replication_factor = 1,
                                              .topic_configs = {{"segment.bytes", "1048576"}},
                                              .auto_create = false})});
  LogLines log;
  App refused{topology, count_config(job, "one", log)};
  BOOST_TEST(refused.check().size() == 1U);
  std::optional<ChangelogNotFoundError> missing;
  try {
    refused.start();
  } catch (const ChangelogNotFoundError& error) {
    missing.emplace(error);
  }
  BOOST_REQUIRE(missing.has_value());
  BOOST_TEST(missing->code() == "changelog_not_found");
  BOOST_TEST(missing->changelog_topic == job.changelog);
  BOOST_TEST(missing->store_name == "counts");
  BOOST_TEST(missing->expected_partitions == 3);
  BOOST_TEST(missing->replication_factor == 1);
  const std::string text = missing->what();
  for (const std::string& part :
       {"--create --topic " + job.changelog, std::string{"--partitions 3"},
        std::string{"--replication-factor 1"}, std::string{"--config cleanup.policy=compact"},
        std::string{"--config segment.bytes=1048576"}}) {
    BOOST_TEST(text.find(part) != std::string::npos, text);
  }
  BOOST_TEST(job.kafka.partitions(job.changelog) == 0);

  job.kafka.create_topic(missing->changelog_topic, missing->expected_partitions,
                         missing->topic_configs);
  job.produce(100, 10);
  run_once(job, topology, log, [](App&) {});
  BOOST_TEST(job.error_in_changelog() == "");

  // The other way round: forbidden for all, allowed for one.
  CountJob other{1};
  auto config = count_config(other, "one", log);
  config.auto_create_topics = false;
  App app{counting(other, {StoreOptions{"counts"}.changelog({.auto_create = true})}), config};
  BOOST_CHECK_NO_THROW(app.start());
  BOOST_TEST(other.kafka.partitions(other.changelog) == 1);
  app.stop();
}

// KF-23: the disk is kept, and lost. What has no changelog is gone, what has one beside it is not.
BOOST_AUTO_TEST_CASE(a_store_without_changelog_has_no_topic_and_forgets_at_a_restart) {
  CountJob job{2};
  const auto topology = counting(job, {StoreOptions{"counts"}.no_changelog(), "kept"});
  const std::string kept = job.application + "-kept-changelog";
  for (const std::string round : {"first", "disk kept", "disk lost"}) {
    LogLines log;
    Counts here;
    job.produce(300, 30);
    for (int i = 0; i < 30; ++i) here["key-" + std::to_string(i)] = 10;
    run_once(job, topology, log, [&](App& app) {
      BOOST_TEST(difference(here, counted(app, "counts")) == "", round);
      BOOST_TEST(difference(job.expected, counted(app, "kept")) == "", round);
    });
    const std::string text = log.text();
    BOOST_TEST(occurrences(text, "store counts has no changelog") == 1U, text);
    BOOST_TEST(occurrences(text, "store counts starts empty") == 2U, text);
    BOOST_TEST(occurrences(text, "store kept has no changelog") == 0U, text);
    BOOST_TEST(difference(here, job.kafka.counts(job.output)) == "", round);
    if (round == "disk kept") job.wipe("one");
  }
  BOOST_TEST(job.kafka.partitions(job.changelog) == 0);
  BOOST_TEST(difference(job.expected, job.kafka.counts(kept)) == "");
  job.kafka.delete_topics({kept});
}

// KF-22
BOOST_AUTO_TEST_CASE(a_store_that_skips_restoration_reads_nothing_and_logs_on) {
  CountJob job{2};
  const auto topology =
      counting(job, {StoreOptions{"counts"}.changelog({.skip_restoration = true})});
  Counts last;
  for (const bool wipe : {false, true, false}) {
    LogLines log;
    job.produce(300, 30);
    last.clear();
    for (int i = 0; i < 30; ++i) last["key-" + std::to_string(i)] = 10;
    run_once(job, topology, log,
             [&](App& app) { BOOST_TEST(difference(last, counted(app, "counts")) == ""); });
    const std::string text = log.text();
    BOOST_TEST(occurrences(text, "store counts skips restoration") == 1U, text);
    BOOST_TEST(replayed_records(text) == 0, text);
    BOOST_TEST(difference(last, job.kafka.counts(job.changelog)) == "");
    if (wipe) job.wipe("one");
  }
  // Without the option the same changelog is read again, whatever the disk has.
  LogLines log;
  run_once(job, counting(job, {"counts"}), log,
           [&](App& app) { BOOST_TEST(difference(last, counted(app, "counts")) == ""); });
  BOOST_TEST(replayed_records(log.text()) >= 30);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
