// SPDX-License-Identifier: Apache-2.0
//
// Change sets of old records are protected from the broker's compaction and deletion by age:
// reference/durability.md, B6 (b) and B7.
#include <algorithm>

#include <boost/test/unit_test.hpp>

#include "tests/runtime/putting_processors.h"
#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using namespace std::chrono_literals;

const Topic<std::string, std::string> words{"words"};

Topology counting() {
  Topology topology;
  topology.stream(words).group_by_key().count("counts");
  return topology;
}

// Counts records of a day ago.
struct Replay : TaskHarness {
  Replay() : TaskHarness(counting()) {
    clock.advance(std::chrono::hours{24 * 20});
    BOOST_REQUIRE(start().ok());
  }
  void count(const std::string& key, std::chrono::milliseconds age = 24h) {
    append("words", key, "x", clock.now() - age);
    BOOST_REQUIRE(process(10).has_value());
  }
  void count_and_commit(const std::string& key, std::chrono::milliseconds age = 24h) {
    count(key, age);
    BOOST_REQUIRE(commit().ok());
  }
  // One crashes in the middle of a commit; the broker compacts before the next start.
  Contents state_after_crash_and_compaction() {
    log.lose_after(2);
    BOOST_REQUIRE(task->prepare().has_value());
    crash(false);
    log.append(changelog(), {"of another segment", std::nullopt, {}, {}});
    clock.advance(5min);
    log.clean(changelog(), {clock.now(), kMinCompactionLag, 24h, 1});
    BOOST_REQUIRE(start().ok());
    return live();
  }
  std::string keys() const {
    std::string text;
    for (const auto& record : changelog_log())
      text += (record.key == kClockKey ? "clock" : record.key.value_or("null")) + ' ';
    return text;
  }
};

BOOST_AUTO_TEST_SUITE(clock_records)

BOOST_AUTO_TEST_CASE(a_change_set_begins_with_the_time_where_its_records_do_not_tell_it) {
  Replay task;
  task.count_and_commit("a");
  task.count_and_commit("b", kMinCompactionLag / 4 + 1ms);
  task.count_and_commit("c", kMinCompactionLag / 4);
  BOOST_TEST(task.keys() == "clock a clock b c ");
  BOOST_TEST((task.changelog_log()[0].timestamp == task.clock.now()));
  BOOST_TEST(!task.changelog_log()[0].value.has_value());
  BOOST_REQUIRE(task.commit().ok());  // Without changes.
  BOOST_TEST(task.changelog_log().size() == 5U);
}

BOOST_AUTO_TEST_CASE(a_committed_value_outlives_a_crash_and_compaction_of_old_records) {
  Replay task;
  task.count_and_commit("a");
  task.count("a");
  std::string one;
  Serde<std::int64_t>::encode(1, one);
  BOOST_TEST((task.state_after_crash_and_compaction() == Contents{{"a", one}}));
}

// A segment may roll between the two.
BOOST_AUTO_TEST_CASE(an_old_change_before_a_fresh_one_is_protected_too) {
  Replay task;
  task.count_and_commit("a");
  task.clock.advance(2 * kMinCompactionLag);
  task.count("a");
  task.count("b", 0ms);
  std::string one;
  Serde<std::int64_t>::encode(1, one);
  BOOST_TEST((task.state_after_crash_and_compaction() == Contents{{"a", one}}));
}

BOOST_AUTO_TEST_CASE(a_restore_passes_clock_records_over) {
  Replay task;
  task.count_and_commit("a");
  task.log.append(task.changelog(), {std::string{kClockKey}, std::nullopt, task.clock.now(), {}});
  task.crash(false);
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST(task.begun.stores[0].records == 1U);
  BOOST_TEST(task.begun.stores[0].tail_keys.empty());
}

// As does an application that reads the changelog as its input, whose types know no such key.
BOOST_AUTO_TEST_CASE(an_input_passes_clock_records_over) {
  Topology topology;
  topology.stream(Topic<std::int64_t, std::int64_t>{"numbers"}).group_by_key().count("counts");
  TaskHarness task{topology};
  BOOST_REQUIRE(task.start().ok());
  task.append("numbers", std::string{kClockKey}, std::nullopt, from_millis(1000));
  const auto processed = task.process(10);
  BOOST_REQUIRE(processed.has_value());
  BOOST_TEST(*processed == 1U);
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(task.source(0) == 1);
}

// Its time is none of the input's: rows behind it are not held back behind later records of others.
BOOST_AUTO_TEST_CASE(a_clock_record_does_not_change_the_order_of_inputs) {
  static const Topic<std::string, std::string> rows{"rows"};
  class LookUp final : public Processor<std::string, std::string, std::string, std::string> {
   public:
    void process(const Record<std::string, std::string>& record, Context& context) override {
      const auto row = context.store<std::string, std::string>("rows").get(record.key());
      context.store<std::string, std::string>("found").put(record.key(), row ? *row : "none");
    }
  };
  Topology topology;
  topology.store<std::string, std::string>("found");
  static_cast<void>(topology.table(rows, "rows"));
  topology.stream(words).process<LookUp>(connects("found", "rows"));
  TaskHarness task{topology};
  task.clock.advance(std::chrono::hours{24 * 20});
  BOOST_REQUIRE(task.start().ok());
  const auto old = task.clock.now() - 24h;
  task.append("rows", std::string{kClockKey}, std::nullopt, task.clock.now());
  task.append("rows", "a", "there", old);
  task.append("words", "a", "x", old + 1s);
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_TEST((task.live(0) == Contents{{"a", "there"}}));
}

// A reader that knows nothing of it finds a window that starts, or a session that ends, at 0.
BOOST_AUTO_TEST_CASE(its_key_is_one_of_every_kind_of_store) {
  std::string key;
  for (const auto& layout : {KeyLayout::window(10ms, 100ms, false),
                             KeyLayout::window(10ms, 100ms, true), KeyLayout::session(100ms)}) {
    BOOST_REQUIRE(layout.engine_key(kClockKey, {}, key));
    BOOST_TEST(layout.time_of(key) == 0);
    BOOST_TEST(layout.detail_of(key) == 0);
    BOOST_TEST(layout.key_of(key).starts_with("millrace-clock"));
  }
}

// B7: brokers delete by record time a segment in which nothing is younger, the last one, too.
BOOST_AUTO_TEST_CASE(windows_of_old_records_outlive_the_brokers_deletion_by_age) {
  Topology topology;
  topology.window_store<std::string, std::string>("windows", {.size = 10ms, .retention = 1h});
  topology.stream(words).process<PuttingWindows>(connects("windows"));
  TaskHarness task{topology};
  task.clock.advance(std::chrono::hours{24 * 20});
  BOOST_REQUIRE(task.start().ok());
  std::string value;
  Serde<std::string>::encode("x", value);
  task.append("words", "a", value, task.clock.now() - std::chrono::hours{24 * 10});
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_REQUIRE(task.commit().ok());
  const auto windows = [&] {
    const WindowStore<std::string, std::string> store{*task.task->find_store("windows"),
                                                      [] { return Timestamp{}; }};
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& window : store.all()) ++count;
    return count;
  };
  BOOST_TEST(windows() == 1U);

  const auto& log = task.changelog_log();
  const Timestamp kept_from = task.clock.now() - 25h;  // The store's retention and a day.
  if (std::ranges::none_of(log, [&](const auto& record) { return record.timestamp >= kept_from; }))
    task.log.delete_before(task.changelog(), static_cast<std::int64_t>(log.size()));
  task.crash(false);
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST(windows() == 1U);
}

// Kafka Streams would take the record's time for the store's and expire what is there.
BOOST_AUTO_TEST_CASE(versioned_stores_have_none) {
  Topology topology;
  topology.versioned_store<std::string, std::string>("versions", {.history_retention = 48h});
  topology.stream(words).process<PuttingVersions>(connects("versions"));
  TaskHarness task{topology};
  task.clock.advance(std::chrono::hours{24 * 20});
  BOOST_REQUIRE(task.start().ok());
  std::string value;
  Serde<std::string>::encode("x", value);
  task.append("words", "a", value, task.clock.now() - 24h);
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_REQUIRE(task.changelog_log().size() == 1U);
  BOOST_TEST(*task.changelog_log()[0].key == "a");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
