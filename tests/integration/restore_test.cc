// SPDX-License-Identifier: Apache-2.0
//
// The topics are the truth: what comes back from a changelog on a real broker, with markers, holes
// and deletions, and from where on a task then reads.
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <set>

#include "millrace/millrace.h"
#include "runtime/commit_point.h"
#include "runtime/partitioner.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

std::uint64_t cluster_hash(CountJob& job) {
  auto id = job.kafka.admin().cluster_id(seconds{20});
  BOOST_REQUIRE(id.has_value());
  return topic_hash(*id);
}

// The commit point of a task as the broker holds it.
DecodedCommitPoint commit_point(CountJob& job, std::int32_t partition) {
  const auto offsets = job.kafka.committed(job.application, job.input);
  const auto& one = offsets.at(static_cast<std::size_t>(partition));
  const auto valid =
      valid_commit_points({{{job.input, partition}, one.offset, one.metadata}}, cluster_hash(job));
  BOOST_REQUIRE(!valid.empty());
  return valid.front();
}

// KS-1: as full state, for the engine on disk and the one in memory.
BOOST_AUTO_TEST_SUITE(restore)

BOOST_AUTO_TEST_CASE(deleting_the_local_store_loses_nothing) {
  for (const std::string engine : {"rocksdb", "memory"}) {
    CountJob job{3};
    job.produce(3'000, 500);
    LogLines log;
    auto config = count_config(job, "one", log);
    config.engine = engine;
    for (int round = 0; round < 2; ++round) {
      {
        App app{count_topology(job), config};
        app.start();
        BOOST_REQUIRE(job.wait_until_processed());
        BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
        BOOST_TEST(difference(job.expected, stored_counts(app)) == "",
                   engine << " round " << round);
      }
      BOOST_TEST(job.error_in_changelog() == "");
      job.wipe("one");
    }
    BOOST_TEST(replayed_records(log.text()) >= 500);
    App app{count_topology(job), config};
    app.start();
    BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
    BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
    job.produce(1'000, 700);
    BOOST_REQUIRE(job.wait_until_processed());
    BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
  }
}

// KS-15, KF-5: a store moves to another engine by replay, and back to one that is behind.
BOOST_AUTO_TEST_CASE(another_engine_is_filled_from_the_changelog_and_an_old_one_catches_up) {
  CountJob job{2};
  for (const std::string engine : {"memory", "rocksdb", "lmdb", "rocksdb", "memory", "lmdb"}) {
    job.produce(2'000, 500);
    LogLines log;
    auto config = count_config(job, "one", log);
    config.engine = engine;
    App app{count_topology(job), config};
    app.start();
    BOOST_REQUIRE(job.wait_until_processed());
    BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
    BOOST_TEST(difference(job.expected, stored_counts(app)) == "", engine);
    app.stop();
    BOOST_TEST(log.text().find("restored, replayed ") != std::string::npos, log.text());
  }
  BOOST_TEST(job.error_in_changelog() == "");
}

// KF-29, durability.md "Commit point": offsets, and in their metadata how far the changelog counts.
BOOST_AUTO_TEST_CASE(the_commit_point_on_the_broker_names_source_offset_and_changelog_end) {
  CountJob job{2};
  job.produce(1'000, 100);
  {
    LogLines log;
    App app{count_topology(job), count_config(job, "one", log)};
    app.start();
    BOOST_REQUIRE(job.wait_until_processed());
  }
  const auto inputs = job.kafka.ends(job.input);
  const auto changelogs = job.kafka.ends(job.changelog);
  for (std::int32_t p = 0; p < 2; ++p) {
    const auto point = commit_point(job, p);
    BOOST_TEST(point.sources.at(topic_hash(job.input)) == inputs[static_cast<std::size_t>(p)].high);
    BOOST_TEST(point.changelog_ends.at(topic_hash(job.changelog)) ==
               changelogs[static_cast<std::size_t>(p)].high);
    BOOST_TEST(point.lineage != 0U);
  }
}

// KF-26, KF-27, KF-29, KS-18: a changelog written by transactions, which ends in markers.
BOOST_AUTO_TEST_CASE(
    a_restore_ends_at_the_committed_end_by_position_and_processing_begins_after_it) {
  CountJob job{1};
  job.kafka.create_topic(job.changelog, 1, {{"cleanup.policy", "compact"}});
  using Outcome = KafkaClientForTests::Outcome;
  job.kafka.produce_transaction(
      job.changelog, {{"a", big_endian(1)}, {"b", big_endian(2)}, {"gone", big_endian(9)}});
  job.kafka.produce_transaction(job.changelog, {{"a", big_endian(99)}, {"never", big_endian(1)}},
                                Outcome::kAbort);
  job.kafka.produce_transaction(job.changelog, {{"c", big_endian(3)}, {"gone", std::nullopt}});
  const std::int64_t end = job.kafka.ends(job.changelog)[0].high;
  BOOST_TEST(end ==
             10);  // 7 records and a marker for each transaction; the last offset is a marker.
  // Records behind the committed end: of a commit that crashed. They count for nothing.
  job.kafka.produce_transaction(job.changelog, {{"b", big_endian(77)}, {"new", big_endian(1)}});

  job.kafka.produce(job.input,
                    {{"a", "1"}, {"b", "2"}, {"b", "3"}, {"c", "4"}, {"a", "5"}, {"c", "6"}});
  CommitPoint point;
  point.lineage = 4711;
  point.cluster = cluster_hash(job);
  point.sequence = 1;
  point.committed_at =
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  point.sources[job.input] = 4;
  point.changelog_ends[job.changelog] = end;
  job.kafka.commit(job.application, job.input, 0, {4, *encode_metadata(point, job.input)});

  LogLines log;
  Topology topology;
  topology.stream(Topic<std::string, std::string>{job.input})
      .peek([&log](const auto& record) { log.add("processed " + record.key() + record.value()); })
      .group_by_key()
      .count("counts");
  App app{topology, count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed(seconds{30}));
  job.expected = {{"a", 2}, {"b", 2}, {"c", 4}};
  BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
  app.stop();

  const std::string text = log.text();
  BOOST_TEST(occurrences(text, "processed ") == 2U, text);
  const auto first = text.find("processed a5");
  BOOST_TEST(first != std::string::npos, text);
  BOOST_TEST(text.find("restored, replayed ") < first, text);
  BOOST_TEST(text.find("offsets 0 to " + std::to_string(end)) < first, text);
  // The uncommitted records are written over, so that any other reader finds the same.
  BOOST_TEST(job.error_in_changelog() == "");
  BOOST_TEST(commit_point(job, 0).lineage == 4711U);
}

// KF-26: a changelog whose head the broker has compacted away.
BOOST_AUTO_TEST_CASE(a_compacted_changelog_restores_completely) {
  CountJob job{1};
  job.kafka.create_topic(job.changelog, 1,
                         {{"cleanup.policy", "compact"},
                          {"min.cleanable.dirty.ratio", "0.001"},
                          {"min.compaction.lag.ms", "0"},
                          {"segment.ms", "500"}});
  LogLines log;
  {
    App app{count_topology(job), count_config(job, "one", log)};
    app.start();
    for (int round = 0; round < 3; ++round) {
      job.produce(2'000, 200);
      BOOST_REQUIRE(job.wait_until_processed());
      let_pass(std::chrono::milliseconds{600});  // The segment's age is what makes it roll.
    }
  }
  const std::int64_t high = job.kafka.ends(job.changelog)[0].high;
  std::size_t left = 0;
  BOOST_REQUIRE(wait_until(
      [&] {
        left = 0;
        job.kafka.read(job.changelog, [&](const StoredRecord&) { ++left; });
        return static_cast<std::int64_t>(left) <= high - 100;  // Of 200 keys, written three times.
      },
      seconds{60}));
  job.wipe("one");
  App app{count_topology(job), count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
  job.produce(400, 200);
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
}

// KF-6: "replays only what came after the last checkpoint".
BOOST_AUTO_TEST_CASE(a_restart_with_the_disk_kept_replays_only_the_tail) {
  CountJob job{4};
  job.produce(50'000, 50'000);
  const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "one"},
                             {"MILLRACE_CHECKPOINT_INTERVAL_MS", "3600000"}};
  auto process = job.start("one", settings);
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(process->stop().value_or(-1) == 0);
  std::int64_t at_checkpoint = 0;
  for (const auto& end : job.kafka.ends(job.changelog)) at_checkpoint += end.high;
  BOOST_TEST(at_checkpoint >= 50'000);

  process = job.start("one", settings);
  BOOST_REQUIRE(process->wait_for_log("-> RUNNING", seconds{30}));
  job.produce(1'000, 300);
  BOOST_REQUIRE(job.wait_until_processed());
  process->kill();
  std::int64_t at_kill = 0;
  for (const auto& end : job.kafka.ends(job.changelog)) at_kill += end.high;

  process = job.start("one", settings);
  BOOST_REQUIRE(wait_until(
      [&] { return occurrences(process->log(), "store counts restored") == 4; }, seconds{30}));
  const auto replayed = replayed_records(process->log());
  BOOST_TEST_MESSAGE("replayed " << replayed << " of " << at_kill);
  BOOST_TEST(replayed == at_kill - at_checkpoint);
  BOOST_TEST(replayed >= 300);
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(process->stop().value_or(-1) == 0);
  BOOST_TEST(job.error_in_changelog() == "");
  BOOST_TEST(job.error_in_output() == "");
}

// KS-19, KF-25, KF-27: deletions are tombstones in the topic and deletions after a restore.
BOOST_AUTO_TEST_CASE(deleted_keys_are_tombstones_and_stay_deleted_without_the_disk) {
  CountJob job{2};
  Topology topology;
  topology.stream(Topic<std::string, std::string>{job.input})
      .reduce<std::int64_t>(
          "counts",
          [](const auto& record, std::optional<std::int64_t> state,
             auto&) -> std::optional<std::int64_t> {
            if (record.value() == "forget") return std::nullopt;
            return state.value_or(0) + 1;
          },
          {}, on_null_value(delete_key));
  LogLines log;
  const auto run = [&](const std::vector<NewRecord>& records, const Counts& expected) {
    job.kafka.produce(job.input, records);
    App app{topology, count_config(job, "one", log)};
    app.start();
    BOOST_REQUIRE(job.wait_until_processed());
    BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
    BOOST_TEST(difference(expected, stored_counts(app)) == "");
  };
  run({{"a", "x"}, {"a", "x"}, {"b", "x"}, {"c", "x"}}, {{"a", 2}, {"b", 1}, {"c", 1}});
  run({{"a", std::nullopt}, {"b", "forget"}}, {{"c", 1}});
  job.expected = {{"c", 1}};
  BOOST_TEST(job.error_in_changelog() == "");
  std::map<std::string, std::optional<std::string>> newest;
  for (const auto& record : job.kafka.read_all(job.changelog)) newest[*record.key] = record.value;
  BOOST_REQUIRE(newest.contains("a"));
  BOOST_REQUIRE(newest.contains("b"));
  BOOST_TEST(!newest["a"].has_value());
  BOOST_TEST(!newest["b"].has_value());
  job.wipe("one");
  run({{"b", "x"}}, {{"b", 1}, {"c", 1}});
}

// KS-6, KS-7: every record of a key once and in order, across restarts with and without the disk.
BOOST_AUTO_TEST_CASE(a_reducer_sees_each_record_of_a_key_once_and_in_offset_order_across_restarts) {
  CountJob job{2};
  Topology topology;
  topology.stream(Topic<std::string, std::string>{job.input})
      .reduce<std::string>("counts",
                           [](const auto& record, std::optional<std::string> state, auto&) {
                             return state.value_or("") + record.value() + ",";
                           });
  LogLines log;
  std::map<std::string, std::string> expected;
  int number = 0;
  for (int round = 0; round < 4; ++round) {
    std::vector<NewRecord> records;
    for (int i = 0; i < 300; ++i, ++number) {
      records.push_back({"key-" + std::to_string(number % 17), std::to_string(number)});
      expected[*records.back().key] += std::to_string(number) + ",";
    }
    App app{topology, count_config(job, "one", log)};
    app.start();
    job.kafka.produce(job.input, records);
    if (round % 2 == 0) BOOST_REQUIRE(job.wait_until_processed());
    app.stop();  // In odd rounds wherever it is.
    if (round == 2) job.wipe("one");
  }
  App app{topology, count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  std::map<std::string, std::string> found;
  for (const auto& entry : app.store<std::string, std::string>("counts").all())
    found[entry.key] = entry.value;
  BOOST_CHECK(found == expected);
  app.stop();
  BOOST_CHECK(job.kafka.table(job.changelog) == expected);
}

// durability.md B13: the offsets are lost, the changelog is not.
BOOST_AUTO_TEST_CASE(lost_offsets_with_a_changelog_that_holds_records_stop_the_app) {
  CountJob job{1};
  job.kafka.create_topic(job.changelog, 1, {{"cleanup.policy", "compact"}});
  job.kafka.produce(job.changelog, {{"a", big_endian(1)}});
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  app.start();
  BOOST_TEST(!app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_TEST((app.state() == AppState::kError));
  BOOST_TEST(app.error().find(job.changelog) != std::string::npos, app.error());
  BOOST_TEST(!job.kafka.committed(job.application, job.input)[0].offset.has_value());
}

// As README's "Starting over" has it.
BOOST_AUTO_TEST_CASE(an_application_without_group_changelogs_and_state_directory_starts_over) {
  CountJob job{2};
  LogLines log;
  job.produce(100, 10);
  for (int run = 0; run < 2; ++run) {
    App app{count_topology(job), count_config(job, "one", log)};
    app.start();
    BOOST_REQUIRE(job.wait_until_processed());
    BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
    app.stop();
    BOOST_REQUIRE(job.kafka.admin().delete_group(job.application, seconds{30}).ok());
    job.kafka.delete_topics({job.changelog});
    job.wipe("one");
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
