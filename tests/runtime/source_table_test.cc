// SPDX-License-Identifier: Apache-2.0
//
// Tables on their source topic, which is their changelog, too (reference/durability.md, "Table on
// its source topic" and B10), and those that have one of their own.
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "millrace/json.h"
#include "millrace/test_driver.h"
#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;

const Topic<std::string, std::string> users{"users"};
const Topic<std::string, std::string> clicks{"clicks"};
const Topic<std::string, std::string> out{"out"};

struct Id {
  std::int64_t number = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Id, number)

Topology table(const StoreOptions& options = "rows", SourceOptions source = {}) {
  Topology topology;
  topology.table(users, options, source).to_stream().to(out);
  return topology;
}

struct Tabled : TaskHarness {
  explicit Tabled(const Topology& topology = table()) : TaskHarness(topology) {}

  void put(const std::string& key, std::optional<std::string> value, std::int64_t time = 0) {
    append("users", key, std::move(value), from_millis(time));
  }
  void step() {
    BOOST_REQUIRE(process(1000).has_value());
    const auto status = commit();
    BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  }
  void begin() {
    const auto status = start();
    BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  }
  void restart(bool keep_disk) {
    crash(keep_disk);
    begin();
  }
  // As a new version of the program, over the same topics and disk.
  void become(const Topology& topology) {
    graph = topology.graph();
    graph->freeze();
    plan = plan_task(graph, {0, 0}, {1}, "app");
    for (const auto& store : plan.stores) {
      if (store.has_changelog()) log.create_topic(store.changelog.topic, 1);
    }
  }
  std::size_t written() { return log.partition({"out", 0}).size(); }
};

std::size_t dropped(const TestDriver& driver, const std::string& reason) {
  const std::string text = driver.metrics_text();
  const std::string line = "reason=\"" + reason + "\",task=\"0_0\"} ";
  const auto at = text.find(line);
  return at == std::string::npos ? 0 : std::stoul(text.substr(at + line.size()));
}

BOOST_AUTO_TEST_SUITE(source_table)

// KF-30, and what Kafka Streams has recorded of its table source (conformance, "stream-to-table"):
// without a key dropped, an earlier timestamp overwrites and is handed on.
BOOST_AUTO_TEST_CASE(a_record_is_the_newest_value_of_its_key_whatever_its_timestamp) {
  TestDriver driver{table(), {.cache_bytes_max = 0}};
  auto input = driver.input(users);
  using Row = std::tuple<std::optional<std::string>, std::optional<std::string>, std::int64_t>;
  const std::vector<Row> rows{{"a", "x", 0},          {"a", "y", 1}, {"a", std::nullopt, 1},
                              {std::nullopt, "z", 5}, {"c", "y", 3}, {"c", "x", 2}};
  for (const auto& [key, value, time] : rows) input.pipe(key, value, from_millis(time));
  std::vector<Row> written;
  for (const auto& record : driver.output(out).read_all())
    written.emplace_back(record.key, record.value, to_millis(record.timestamp));
  BOOST_TEST((written == std::vector<Row>{rows[0], rows[1], rows[2], rows[4], rows[5]}));
  auto store = driver.store<std::string, std::string>("rows");
  BOOST_TEST(!store.get("a").has_value());
  BOOST_TEST(store.get("c").value() == "x");
  BOOST_TEST(to_millis(store.timestamp("c").value()) == 2);
  BOOST_TEST(dropped(driver, "null_key") == 1U);
  input.pipe("never seen", std::nullopt);  // As Kafka Streams without a cache.
  BOOST_TEST(driver.output(out).read_all().size() == 1U);
}

BOOST_AUTO_TEST_CASE(with_the_cache_on_a_table_hands_on_at_the_commit) {
  TestDriver driver{table(), {.commit_every_record = false}};
  auto input = driver.input(users);
  for (const char* value : {"1", "2"}) input.pipe("a", value);
  input.pipe("never seen", std::nullopt);
  BOOST_TEST(driver.output(out).read_all().empty());
  driver.commit();
  const auto written = driver.output(out).read_all();
  BOOST_REQUIRE(written.size() == 1U);
  BOOST_TEST(*written[0].value == "2");
}

// DESIGN.md section 4: nothing is written twice.
BOOST_AUTO_TEST_CASE(the_topic_is_the_changelog_and_nothing_is_written_to_it) {
  Tabled task;
  task.begin();
  task.put("a", "1"), task.put("b", "2"), task.put("a", std::nullopt);
  task.step();
  BOOST_TEST(to_string(task.changelog()) == "users-0");
  BOOST_TEST(task.log.partitions("app-rows-changelog") == 0);
  BOOST_TEST(task.log.partition({"users", 0}).size() == 3U);
  BOOST_TEST(task.source() == 3);
  BOOST_TEST(task.committed_end() == 3);
}

// KF-26, KF-27, KF-29, KS-1: up to the committed source offset, not beyond (B10).
BOOST_AUTO_TEST_CASE(a_restore_reads_the_topic_up_to_the_committed_source_offset) {
  Tabled task;
  task.begin();
  task.put("a", "1", 5), task.put("b", "2"), task.put("c", "3"), task.put("b", std::nullopt);
  task.step();
  task.put("a", "beyond");
  task.put("d", "beyond");
  task.crash(false);
  BOOST_REQUIRE(task.create().ok());
  BOOST_TEST(task.begun.stores[0].records == 4U);
  BOOST_TEST(task.begun.stores[0].committed_end == 4);
  BOOST_TEST(task.begun.stores[0].tail_keys.empty());
  BOOST_TEST((held(*task.disk->content(), 0) == Contents{{"a", "1"}, {"c", "3"}}));
  auto prepared = task.task->prepare_start();
  BOOST_REQUIRE(prepared.has_value());
  BOOST_REQUIRE(task.complete(*prepared).ok());
  const auto before = task.written();
  task.step();
  BOOST_TEST((task.live() == Contents{{"a", "beyond"}, {"c", "3"}, {"d", "beyond"}}));
  BOOST_TEST(task.written() == before + 2);  // What was restored is not handed on again.
}

// KF-6
BOOST_AUTO_TEST_CASE(with_the_disk_kept_only_what_came_after_the_checkpoint_is_read_again) {
  Tabled task;
  task.begin();
  task.put("a", "1"), task.put("b", "2");
  task.step();
  BOOST_REQUIRE(task.task->checkpoint().ok());
  task.put("c", "3");
  task.step();
  task.restart(true);
  BOOST_TEST(task.begun.stores[0].restored_from == 2);
  BOOST_TEST(task.begun.stores[0].records == 1U);
  BOOST_TEST(task.begun.stores[0].rebuilt == "");
  BOOST_TEST((task.live() == Contents{{"a", "1"}, {"b", "2"}, {"c", "3"}}));
}

// B17: the engine's position may not exceed the committed source offset.
BOOST_AUTO_TEST_CASE(an_engine_ahead_of_the_committed_source_offset_is_rebuilt) {
  Tabled task;
  task.begin();
  task.put("a", "1");
  task.step();
  task.put("a", "2");
  task.step();
  BOOST_REQUIRE(task.task->checkpoint().ok());
  task.log.commit(task.history[task.history.size() - 2]);
  task.restart(true);
  BOOST_TEST(task.begun.stores[0].rebuilt.find("ahead") != std::string::npos);
  BOOST_TEST((task.live() == Contents{{"a", "1"}}));
}

BOOST_AUTO_TEST_CASE(a_first_start_begins_at_the_logs_start_and_hands_all_rows_on) {
  Tabled task;
  task.put("deleted", "0"), task.put("a", "1"), task.put("b", "2");
  task.log.delete_before({"users", 0}, 1);
  BOOST_REQUIRE(task.create().ok());
  BOOST_TEST(task.begun.stores[0].committed_end == 1);
  task.begin();
  BOOST_TEST(task.live().empty());
  BOOST_TEST(task.source() == 1);
  task.step();
  BOOST_TEST((task.live() == Contents{{"a", "1"}, {"b", "2"}}));
  BOOST_TEST(task.written() == 2U);
  task.restart(false);
  BOOST_TEST((task.live() == Contents{{"a", "1"}, {"b", "2"}}));
}

// The invariant holds for `latest`, too: the rows below the start are there, in every start.
BOOST_AUTO_TEST_CASE(with_latest_the_rows_that_are_there_are_loaded_and_not_handed_on) {
  Tabled task;
  task.restore_settings.reset = OffsetReset::kLatest;
  task.put("a", "1");
  task.begin();
  BOOST_TEST((task.live() == Contents{{"a", "1"}}));
  task.put("b", "2");
  task.step();
  BOOST_TEST(task.written() == 1U);
  task.restart(false);
  BOOST_TEST((task.live() == Contents{{"a", "1"}, {"b", "2"}}));
}

BOOST_AUTO_TEST_CASE(records_deleted_by_age_are_gone_from_a_restored_table_and_it_is_said) {
  for (const std::int64_t start : {2, 3}) {
    Tabled task;
    task.begin();
    task.put("old", "1"), task.put("b", "2");
    task.step();
    BOOST_REQUIRE(task.task->checkpoint().ok());
    task.put("c", "3"), task.put("d", "4");
    task.step();
    task.log.delete_before({"users", 0}, start);
    task.restart(true);
    if (start == 2) {  // The engine has what is deleted.
      BOOST_TEST(task.begun.stores[0].rebuilt == "");
      BOOST_TEST(task.live().size() == 4U);
    } else {
      BOOST_TEST(task.begun.stores[0].rebuilt.find("deleted") != std::string::npos);
      BOOST_TEST(task.begun.stores[0].restored_from == 3);
      BOOST_TEST((task.live() == Contents{{"d", "4"}}));
    }
    task.log.delete_before({"users", 0}, 4);
    task.restart(false);
    BOOST_TEST(task.live().empty());
  }
}

// B18
BOOST_AUTO_TEST_CASE(a_topic_shorter_than_the_committed_source_offset_is_corruption) {
  Tabled task;
  task.begin();
  task.put("a", "1"), task.put("b", "2");
  task.step();
  Tabled anew;
  anew.log.commit(task.history.back());
  anew.put("a", "1");
  const auto status = anew.start();
  BOOST_CHECK(status.code() == Code::kCorruption);
  BOOST_TEST(status.message().find("users-0") != std::string::npos);
}

// B13: no offsets, nothing to fear: the topic has it all.
BOOST_AUTO_TEST_CASE(lost_offsets_rebuild_the_table_and_hand_it_on_again) {
  Tabled task;
  task.begin();
  task.put("a", "1");
  task.step();
  BOOST_REQUIRE(task.task->checkpoint().ok());
  task.log.forget_commits();
  task.restart(true);
  BOOST_TEST(task.begun.stores[0].rebuilt.find("another history") != std::string::npos);
  BOOST_TEST(task.live().empty());
  task.step();
  BOOST_TEST((task.live() == Contents{{"a", "1"}}));
  BOOST_TEST(task.written() == 2U);
}

BOOST_AUTO_TEST_CASE(offsets_of_kafka_streams_say_how_far_the_table_is) {
  Tabled task;
  task.put("a", "1"), task.put("b", "2"), task.put("c", "3");
  task.log.commit({{{"users", 0}, 2, "AgAAAAAAAAPo"}});
  task.begin();
  BOOST_TEST((task.live() == Contents{{"a", "1"}, {"b", "2"}}));
  task.step();
  BOOST_TEST(task.live().size() == 3U);
  BOOST_TEST(task.written() == 1U);
}

// --- A changelog of its own ---

// B10: folding the topic would not give what these stores hold.
BOOST_AUTO_TEST_CASE(tables_whose_content_is_not_what_the_topic_says_have_their_own_changelog) {
  const auto changelog = [](const Topology& topology, const ErrorRules& defaults = {}) {
    topology.graph()->freeze();
    const auto plan = plan_task(topology.graph(), {0, 0}, {1}, "app", defaults);
    check_changelog_topics(*topology.graph(), "app", defaults);
    BOOST_TEST(plan.stores[0].on_source == (plan.stores[0].changelog.topic == "users"));
    return plan.stores[0].changelog.topic;
  };
  const auto rules = [](ErrorPolicy on_decode_error, ErrorPolicy on_error) {
    ErrorRules made;
    made.on_decode_error = on_decode_error;
    made.on_error = on_error;
    return made;
  };
  const std::string own = "app-rows-changelog";
  BOOST_TEST(changelog(table()) == "users");
  BOOST_TEST(changelog(table(StoreOptions{"rows"}.ttl(std::chrono::hours{1}))) == own);
  BOOST_TEST(changelog(table(StoreOptions{"rows"}.changelog({}))) == own);
  BOOST_TEST(changelog(table(StoreOptions{"rows"}.changelog({.topic = "log"}))) == "log");
  BOOST_TEST(changelog(table(StoreOptions{"rows"}.no_changelog())).empty());
  BOOST_TEST(changelog(table("rows", {.on_decode_error = ErrorPolicy::kSkip})) == own);
  BOOST_TEST(changelog(table("rows", {.on_error = ErrorPolicy::kSkip})) == own);
  BOOST_TEST(changelog(table(), rules(ErrorPolicy::kSkip, ErrorPolicy::kFail)) == own);
  BOOST_TEST(changelog(table(), rules(ErrorPolicy::kFail, ErrorPolicy::kSkip)) == own);
  const SourceOptions strict{ErrorPolicy::kFail, ErrorPolicy::kFail};
  BOOST_TEST(changelog(table("rows", strict), rules(ErrorPolicy::kSkip, ErrorPolicy::kSkip)) ==
             "users");
  Topology json;  // {"number":1} and { "number": 1 } are one key.
  json.table(Topic<Id, std::string>{"users"}, "rows");
  BOOST_TEST(changelog(json) == own);
}

BOOST_AUTO_TEST_CASE(skipped_records_are_not_in_a_restored_table) {
  for (const bool by_configuration : {true, false}) {
    Topology topology;
    SourceOptions source;
    TestDriverOptions options;
    (by_configuration ? options.on_decode_error : source.on_decode_error.emplace()) =
        ErrorPolicy::kSkip;
    const Topic<std::string, std::int64_t> numbers{"numbers"};
    topology.table(numbers, "rows", source);
    TestDriver driver{topology, options};
    driver.input(numbers).pipe("a", 1);
    driver.input(numbers).pipe_bytes("a", "not 8 bytes");
    driver.restart();
    BOOST_TEST((driver.store<std::string, std::int64_t>("rows").get("a") == 1));
    BOOST_TEST(driver.records("test-rows-changelog").size() == 1U);
  }
}

// A table that must skip a record from now on takes its rows along, whatever crashes on the way.
BOOST_AUTO_TEST_CASE(a_table_that_gets_its_own_changelog_takes_its_rows_along) {
  for (const std::size_t accepted : {0U, 1U, 2U, 9U}) {
    Tabled task;
    task.begin();
    for (const char* key : {"a", "b", "gone"}) task.put(key, "1");
    task.put("gone", std::nullopt);
    task.step();
    if (accepted % 2 == 0) BOOST_REQUIRE(task.task->checkpoint().ok());
    task.put("a", "2");
    task.put("c", "1");
    task.crash(true);
    task.become(table(StoreOptions{"rows"}.changelog({})));
    BOOST_REQUIRE(task.create().ok());
    BOOST_TEST(task.begun.stores[0].moves_from_source);
    task.log.lose_after(accepted);  // A crash in the first commit.
    BOOST_REQUIRE(task.task->prepare_start().has_value());
    task.restart(accepted != 1);
    BOOST_TEST((task.live() == Contents{{"a", "1"}, {"b", "1"}}));
    BOOST_TEST((folded(task.changelog_log(), task.committed_end()) == task.live()));
    task.restart(true);  // The engine's positions were those of another topic.
    BOOST_TEST(!task.begun.stores[0].moves_from_source);
    BOOST_TEST((task.live() == Contents{{"a", "1"}, {"b", "1"}}));
    task.step();
    const Contents all{{"a", "2"}, {"b", "1"}, {"c", "1"}};
    BOOST_TEST((task.live() == all));
    BOOST_REQUIRE(task.task->checkpoint().ok());
    for (const bool keep_disk : {true, false}) {
      task.restart(keep_disk);
      BOOST_TEST((task.live() == all));
    }
    // ... and back: the topic has all of it.
    BOOST_REQUIRE(task.task->checkpoint().ok());
    task.crash(true);
    task.become(table());
    task.begin();
    BOOST_TEST(task.begun.stores[0].rebuilt.find("with this changelog") != std::string::npos);
    BOOST_TEST(task.begun.stores[0].records == 6U);
    BOOST_TEST((task.live() == all));
  }
}

// --- Beside others ---

class Lookup final : public Processor<std::string, std::string, std::string, std::string> {
 public:
  explicit Lookup(bool writes = false) : writes_(writes) {}
  void process(const Record<std::string, std::string>& record, Context& context) override {
    auto rows = context.store<std::string, std::string>("rows");
    if (writes_) rows.put(record.key(), "lost");
    context.forward(record.key(), rows.get(record.key()).value_or("nobody"));
  }

 private:
  bool writes_;
};

BOOST_AUTO_TEST_CASE(processors_may_read_the_store_and_write_only_with_a_changelog_of_its_own) {
  const auto run = [](const StoreOptions& options, bool writes) {
    Topology topology;
    topology.table(users, options);
    topology.stream(clicks).process<Lookup>(connects("rows"), {}, writes).to(out);
    TestDriver driver{topology};
    driver.input(users).pipe("a", "alice");
    driver.input(clicks).pipe("a", "x");
    return *driver.output(out).read_all().at(0).value;
  };
  BOOST_TEST(run("rows", false) == "alice");
  BOOST_CHECK_EXCEPTION(run("rows", true), StatusError, [](const StatusError& error) {
    const std::string what = error.what();
    return what.find("clicks-0@0") != std::string::npos &&
           what.find("'rows' is the table of topic 'users'") != std::string::npos;
  });
  BOOST_TEST(run(StoreOptions{"rows"}.changelog({}), true) == "lost");
}

// KF-14: the tasks are those of the input with most partitions.
BOOST_AUTO_TEST_CASE(a_table_with_fewer_partitions_has_no_rows_in_the_tasks_beyond) {
  Topology topology;
  topology.table(users, "rows");
  topology.stream(clicks).process<Lookup>(connects("rows")).to(out);
  TaskHarness task{topology, {0, 3}, {{"users", 2}, {"clicks", 4}}};
  BOOST_TEST(!task.plan.stores[0].has_changelog());
  BOOST_TEST(task.plan.stores[0].read_only);
  for (int i = 0; i < 2; ++i) {
    const auto status = task.start();
    BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
    task.append("clicks", "a", "x");
    BOOST_REQUIRE(task.process(10).has_value());
    BOOST_REQUIRE(task.commit().ok());
    BOOST_REQUIRE(task.task->checkpoint().ok());
    task.crash(true);
  }
  TestDriver driver{topology, {.partitions = {{"users", 2}, {"clicks", 4}}}};
  for (const char* key : {"a", "b", "c", "d", "e"}) driver.input(users).pipe(key, key);
  driver.restart();
  BOOST_TEST((driver.store<std::string, std::string>("rows").all().size() == 5U));
}

BOOST_AUTO_TEST_CASE(a_table_is_described_as_kafka_streams_does) {
  BOOST_TEST(table().describe().find("    Source: KSTREAM-SOURCE-0000000000 (topics: [users])\n"
                                     "      --> KTABLE-SOURCE-0000000001\n"
                                     "    Processor: KTABLE-SOURCE-0000000001 (stores: [rows])\n"
                                     "      --> KTABLE-TOSTREAM-0000000002\n") !=
             std::string::npos);
  Topology twice = table();
  BOOST_CHECK_THROW(twice.stream(users), TopologyError);
  BOOST_CHECK_THROW(twice.table(clicks, "rows"), TopologyError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
