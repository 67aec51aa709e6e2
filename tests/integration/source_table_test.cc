// SPDX-License-Identifier: Apache-2.0
//
// Tables on a topic of a real broker: the topic is the changelog.
#include <boost/test/unit_test.hpp>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;
using Outcome = KafkaClientForTests::Outcome;
using Rows = std::map<std::string, std::string>;

// The table of a topic, and its updates in the job's output.
Topology table(const CountJob& job, const std::string& topic, const StoreOptions& store = "rows") {
  Topology topology;
  topology.table(Topic<std::string, std::string>{topic}, store)
      .to_stream()
      .to(Topic<std::string, std::string>{job.output});
  return topology;
}

Rows stored(App& app) {
  Rows rows;
  for (const auto& entry : app.store<std::string, std::string>("rows").all())
    rows[entry.key] = entry.value;
  return rows;
}

bool settles(App& app, const Rows& expected) {
  return app.wait_for(AppState::kRunning, seconds{30}) &&
         wait_until([&] { return stored(app) == expected; }, seconds{30});
}

BOOST_AUTO_TEST_SUITE(source_table)

// KF-26, KF-27, KF-29, KF-30, KS-1: nothing is written twice, and two restarts with the disk lost
// find all of it in the topic; one with the disk kept reads nothing again.
BOOST_AUTO_TEST_CASE(a_table_is_restored_from_its_topic_which_nothing_is_written_to) {
  CountJob job{2};
  const std::string changelog = job.application + "-rows-changelog";
  std::vector<NewRecord> records;
  for (int i = 0; i < 2'000; ++i) {
    records.push_back({"key-" + std::to_string(i % 500), std::to_string(i)});
  }
  for (int i = 0; i < 100; ++i) records.push_back({"key-" + std::to_string(i), std::nullopt});
  job.kafka.produce(job.input, records);
  job.kafka.produce_transaction(job.input, {{"aborted", "1"}, {"key-7", "1"}}, Outcome::kAbort);
  job.kafka.produce_transaction(job.input, {{"key-1", "committed"}});
  // Their markers may come after the client has its answer; nothing but a record is to be the last.
  BOOST_REQUIRE(wait_until(
      [&] { return job.kafka.stable_ends(job.input) == job.kafka.ends(job.input); }, seconds{30}));
  job.kafka.produce(job.input, {{"last", "1", 0}, {"last", "2", 1}, {std::nullopt, "no key", 0}});
  Rows expected = job.kafka.table(job.input);
  expected["last"] = "2";  // One in each partition: read_all goes by the higher.
  BOOST_TEST(expected.size() == 402U);
  const auto has_all = [&](App& app) {
    return app.wait_for(AppState::kRunning, seconds{30}) &&
           wait_until([&] { return stored(app).size() == 402U; }, seconds{30});
  };
  const auto input_end = [&] {
    return job.kafka.ends(job.input)[0].high + job.kafka.ends(job.input)[1].high;
  };
  const auto ends = input_end();

  LogLines first;
  {
    App app{table(job, job.input), count_config(job, "one", first)};
    app.start();
    BOOST_REQUIRE(job.wait_until_processed());
    BOOST_TEST(has_all(app));
    BOOST_TEST((stored(app) == expected));
  }
  BOOST_TEST(first.text().find("is the changelog of table rows and has cleanup.policy=delete") !=
             std::string::npos);
  BOOST_TEST(job.kafka.partitions(changelog) == 0);
  BOOST_TEST(input_end() == ends);
  BOOST_TEST(job.kafka.table(job.output).size() == 402U);
  const auto updates = job.kafka.read_all(job.output).size();

  for (int restart = 0; restart < 2; ++restart) {
    job.wipe("one");
    LogLines log;
    App app{table(job, job.input), count_config(job, "one", log)};
    app.start();
    BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
    BOOST_TEST((stored(app) == expected));
    // All that can be read but the record without key: 2,100, one of the transaction, two.
    BOOST_TEST(replayed_records(log.text()) == 2'103, log.text());
    BOOST_TEST(log.text().find("(" + job.input + "-0 offsets 0 to ") != std::string::npos);
  }
  LogLines kept;
  App app{table(job, job.input), count_config(job, "one", kept)};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_TEST((stored(app) == expected));
  BOOST_TEST(replayed_records(kept.text()) == 0, kept.text());
  BOOST_TEST(job.kafka.partitions(changelog) == 0);
  BOOST_TEST(job.kafka.read_all(job.output).size() == updates);
  job.kafka.produce(job.input, {{"key-1", std::nullopt}, {"new", "1"}});
  expected.erase("key-1");
  expected["new"] = "1";
  BOOST_TEST(settles(app, expected));
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(input_end() == ends + 2);
  BOOST_TEST(!job.kafka.table(job.output).contains("key-1"));
}

// KF-26: what compaction leaves of a topic is the table.
BOOST_AUTO_TEST_CASE(a_compacted_topic_restores_completely) {
  CountJob job{1};
  const std::string users = job.application + "-users";
  job.kafka.create_topic(users, 1,
                         {{"cleanup.policy", "compact"},
                          {"min.cleanable.dirty.ratio", "0.001"},
                          {"min.compaction.lag.ms", "0"},
                          {"segment.ms", "500"}});
  Rows expected;
  LogLines log;
  {
    App app{table(job, users), count_config(job, "one", log)};
    app.start();
    for (int round = 0; round < 4; ++round) {
      std::vector<NewRecord> records;
      for (int i = 0; i < 200; ++i) {
        const std::string key = "key-" + std::to_string(i);
        records.push_back({key, std::to_string(round)});
        expected[key] = std::to_string(round);
      }
      job.kafka.produce(users, records);
      let_pass(std::chrono::milliseconds{600});  // The segment's age is what makes it roll.
    }
    BOOST_TEST(settles(app, expected));
  }
  BOOST_TEST(log.text().find("cleanup.policy") == std::string::npos);
  const std::int64_t high = job.kafka.ends(users)[0].high;
  BOOST_REQUIRE(wait_until(
      [&] { return static_cast<std::int64_t>(job.kafka.read_all(users).size()) <= high - 200; },
      seconds{60}));
  job.wipe("one");
  LogLines second;
  App app{table(job, users), count_config(job, "one", second)};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_TEST((stored(app) == expected));
  BOOST_TEST(replayed_records(second.text()) <= high - 200);
  app.stop();
  job.kafka.delete_topics({users});
}

// B10: a record must be skipped from now on, so the table gets its own changelog, with all rows.
BOOST_AUTO_TEST_CASE(a_table_that_has_to_skip_records_takes_its_rows_to_a_changelog_of_its_own) {
  CountJob job{2};
  const std::string changelog = job.application + "-rows-changelog";
  std::vector<NewRecord> records;
  for (int i = 0; i < 300; ++i) records.push_back({"key-" + std::to_string(i), "1"});
  job.kafka.produce(job.input, records);
  Rows expected = job.kafka.table(job.input);
  LogLines log;
  {
    App app{table(job, job.input), count_config(job, "one", log)};
    app.start();
    BOOST_REQUIRE(job.wait_until_processed());
    BOOST_TEST(settles(app, expected));
  }
  job.kafka.produce(job.input, {{"key-7", "2"}});
  expected["key-7"] = "2";
  for (int restart = 0; restart < 3; ++restart) {
    if (restart == 2) job.wipe("one");
    auto config = count_config(job, "one", log);
    config.on_decode_error = ErrorPolicy::kSkip;
    App app{table(job, job.input), config};
    app.start();
    BOOST_REQUIRE(job.wait_until_processed());
    BOOST_TEST(settles(app, expected));
  }
  BOOST_TEST(job.kafka.partitions(changelog) == 2);
  BOOST_TEST((job.kafka.table(changelog) == expected));
  BOOST_TEST(occurrences(log.text(), "which is its changelog from now on") == 2U);
  job.kafka.delete_topics({changelog});
}

// KF-22: set back as the error says, it goes on.
BOOST_AUTO_TEST_CASE(another_changelog_topic_is_refused_where_the_store_has_state) {
  CountJob job{1};
  const std::string other = job.application + "-other";
  const auto counting = [&](const StoreOptions& store) {
    Topology topology;
    topology.stream(Topic<std::string, std::string>{job.input}).group_by_key().count(store);
    return topology;
  };
  job.produce(100, 10);
  LogLines log;
  {
    App app{counting("counts"), count_config(job, "one", log)};
    app.start();
    BOOST_REQUIRE(job.wait_until_processed());
  }
  job.wipe("one");
  {
    App app{counting(StoreOptions{"counts"}.changelog({.topic = other})),
            count_config(job, "one", log)};
    app.start();
    BOOST_TEST(wait_until([&] { return app.state() == AppState::kError; }, seconds{30}));
    BOOST_TEST(log.text().find("now has the changelog " + other + "-0") != std::string::npos);
  }
  App app{counting("counts"), count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
  app.stop();
  job.kafka.delete_topics({other});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
