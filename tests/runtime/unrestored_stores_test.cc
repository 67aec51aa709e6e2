// SPDX-License-Identifier: Apache-2.0
//
// Stores that start empty: without a changelog, or with one that is not read.
#include <boost/test/unit_test.hpp>

#include "millrace/test_driver.h"
#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;

const Topic<std::string, std::int64_t> numbers{"numbers"};

std::string i64(std::int64_t value) {
  std::string bytes;
  Serde<std::int64_t>::encode(value, bytes);
  return bytes;
}

Topology counting(const StoreOptions& options) {
  Topology topology;
  topology.stream(numbers).group_by_key().count(options);
  return topology;
}

StoreOptions unlogged() { return StoreOptions{"counts"}.no_changelog(); }
StoreOptions unrestored() { return StoreOptions{"counts"}.changelog({.skip_restoration = true}); }

struct Counting : TaskHarness {
  explicit Counting(const StoreOptions& options) : TaskHarness(counting(options)) {
    BOOST_REQUIRE(start().ok());
  }

  // As a new version of the program, over the same topics and disk.
  void become(const StoreOptions& options) {
    graph = counting(options).graph();
    graph->freeze();
    plan = plan_task(graph, {0, 0}, {1}, "app");
    if (plan.stores[0].has_changelog()) log.create_topic(changelog().topic, 1);
  }
  void count(const std::string& key, int times = 1) {
    for (int i = 0; i < times; ++i) append("numbers", key, i64(0));
    BOOST_REQUIRE(process(100).has_value());
    BOOST_REQUIRE(commit().ok());
  }
  void checkpoint() { BOOST_REQUIRE(task->checkpoint().ok()); }
};

BOOST_AUTO_TEST_SUITE(unrestored_stores)

// KF-23
BOOST_AUTO_TEST_CASE(a_store_without_changelog_has_no_topic_and_is_empty_after_a_restart) {
  Topology topology;
  auto stream = topology.stream(numbers);
  stream.group_by_key().count(unlogged());
  stream.group_by_key().count("kept");
  TestDriver driver{topology};
  const auto of = [&](const std::string& store) {
    return driver.store<std::string, std::int64_t>(store).get("a").value_or(0);
  };
  for (int i = 0; i < 3; ++i) driver.input(numbers).pipe("a", 1);
  BOOST_TEST(of("counts") == 3);
  BOOST_TEST(of("kept") == 3);
  BOOST_TEST(driver.records("test-counts-changelog").empty());
  BOOST_TEST(driver.records("test-kept-changelog").size() == 3U);

  // The input goes on from its offsets, as the store beside it shows.
  for (const bool orderly : {true, false}) {
    if (orderly) {
      driver.close();
    } else {
      driver.crash_after(Step::kCommit);
      driver.input(numbers).pipe("a", 1);
      BOOST_REQUIRE(driver.crashed());
    }
    driver.restart();
    BOOST_TEST(of("counts") == 0);
    driver.input(numbers).pipe("a", 1);
    BOOST_TEST(of("counts") == 1);
  }
  BOOST_TEST(of("kept") == 6);
}

// KF-23: nothing relates what is on disk to the commit point, so it goes, whatever is on it.
BOOST_AUTO_TEST_CASE(the_disk_of_a_store_without_changelog_is_cleared_at_each_start) {
  Counting f{unlogged()};
  f.count("a", 3);
  f.checkpoint();
  BOOST_TEST((held(*f.disk->content(), 0) == Contents{{"a", i64(3)}}));
  f.crash(true);
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST(f.live().empty());
  BOOST_TEST(held(*f.disk->content(), 0).empty());
  BOOST_TEST(f.source() == 3);
  f.count("a");
  BOOST_TEST((f.live() == Contents{{"a", i64(1)}}));
  BOOST_TEST(f.durable()->changelog_ends.empty());
}

BOOST_AUTO_TEST_CASE(what_a_window_store_without_changelog_had_observed_is_forgotten_too) {
  class Putting final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
   public:
    void process(const Record<std::string, std::int64_t>& record, Context& context) override {
      auto windows = context.window_store<std::string, std::int64_t>("windows");
      windows.put(record.key(), record.value(), record.timestamp());
    }
  };
  Topology topology;
  topology.window_store<std::string, std::int64_t>(
      StoreOptions{"windows"}.no_changelog(),
      {.size = std::chrono::milliseconds{10}, .retention = std::chrono::milliseconds{1'000}});
  topology.stream(numbers).process<Putting>(connects("windows"));
  TaskHarness f{topology};
  BOOST_REQUIRE(f.start().ok());
  for (const std::int64_t time : {100'000, 1}) {
    f.append("numbers", "k", i64(7), from_millis(time));
    BOOST_REQUIRE(f.process(10).has_value());
    BOOST_REQUIRE(f.commit().ok());
    BOOST_TEST(f.task->find_store("windows")->observed_time() == time);
    BOOST_TEST(f.live().size() == 1U);
    BOOST_REQUIRE(f.task->checkpoint().ok());
    f.crash(true);
    BOOST_REQUIRE(f.start().ok());
    BOOST_TEST(f.live().empty());
  }
}

BOOST_AUTO_TEST_CASE(content_written_without_changelog_does_not_survive_turning_it_on) {
  Counting f{unlogged()};
  f.count("a", 3);
  f.checkpoint();
  f.crash(true);
  f.become("counts");
  BOOST_REQUIRE(f.start().ok());  // Position and end are both 0: only the lineage differs.
  BOOST_TEST(f.begun.stores[0].rebuilt.find("another history") != std::string::npos);
  BOOST_TEST(f.live().empty());
  f.count("a");
  BOOST_TEST(f.committed_end() == 1);
}

BOOST_AUTO_TEST_CASE(an_old_changelog_is_not_taken_for_what_happened_without_it) {
  Counting f{"counts"};
  f.count("a", 3);
  f.crash(true);
  f.become(unlogged());
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST(f.live().empty());
  f.count("b");
  f.crash(true);
  f.become("counts");
  const auto status = f.start();
  BOOST_TEST((status.code() == Code::kInvalidArgument));
  BOOST_TEST(status.message().find("app-counts-changelog-0") != std::string::npos);
}

// KF-22
BOOST_AUTO_TEST_CASE(a_store_that_skips_restoration_is_empty_and_its_changelog_goes_on) {
  Counting f{unrestored()};
  f.count("a", 3);
  f.count("b");
  f.checkpoint();
  for (const bool keep_disk : {true, false}) {
    f.append(f.changelog().topic, "foreign", i64(7));  // Counts as it stands: nothing heals it.
    f.crash(keep_disk);
    const auto end = static_cast<std::int64_t>(f.changelog_log().size());
    BOOST_REQUIRE(f.start().ok());
    BOOST_TEST(f.begun.stores[0].records == 0U);
    BOOST_TEST(f.begun.stores[0].restored_from == end);
    BOOST_TEST(f.live().empty());
    BOOST_TEST(f.committed_end() == end);
    f.count("a");
    BOOST_TEST((f.live() == Contents{{"a", i64(1)}}));
    BOOST_TEST(f.committed_end() == end + 1);
    f.checkpoint();
  }
  // Without the option again: what the log has, not what the disk has.
  f.crash(true);
  f.become("counts");
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST(f.begun.stores[0].rebuilt.find("another history") != std::string::npos);
  BOOST_TEST((f.live() == Contents{{"a", i64(1)}, {"b", i64(1)}, {"foreign", i64(7)}}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
