// SPDX-License-Identifier: Apache-2.0
//
// What is particular to restoring stores that expire: changelogs that the broker has cut, and
// engines whose segments have another length.
#include <boost/test/unit_test.hpp>

#include "millrace/topology.h"
#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using std::chrono::milliseconds;

const Topic<std::string, std::int64_t> numbers{"numbers"};

class Putting final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void process(const Record<std::string, std::int64_t>& record, Context& context) override {
    auto windows = context.window_store<std::string, std::int64_t>("windows");
    windows.put(record.key(), record.value(), record.timestamp());
  }
};

Topology with_retention(milliseconds retention) {
  Topology topology;
  topology.window_store<std::string, std::int64_t>(
      "windows", {.size = milliseconds{10}, .retention = retention});
  topology.stream(numbers).process<Putting>(connects("windows"));
  return topology;
}

// A task that has put windows, one per commit, at 0, 100,000, 200,000 ...
struct Fixture : TaskHarness {
  explicit Fixture(milliseconds retention = milliseconds{250'000})
      : TaskHarness(with_retention(retention)) {
    BOOST_REQUIRE(start().ok());
  }
  void put(std::int64_t time) {
    append("numbers", "k", std::string(7, '\0') + '\1', from_millis(time));
    BOOST_REQUIRE(process(10).has_value());
    BOOST_REQUIRE(commit().ok());
  }
  // The broker has deleted what is below `start` by its age.
  Result<TaskStart> restore_from(std::int64_t start) {
    log.delete_before(changelog(), start);
    return restore();
  }
  std::vector<std::int64_t> starts() {
    std::vector<std::int64_t> found;
    const WindowStore<std::string, std::int64_t> store{*task->find_store("windows"),
                                                       [] { return Timestamp{}; }};
    for (const auto& entry : store.all()) found.push_back(to_millis(entry.window_start));
    return found;
  }
};

class PuttingVersions final
    : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void process(const Record<std::string, std::int64_t>& record, Context& context) override {
    auto versions = context.versioned_store<std::string, std::int64_t>("versions");
    versions.put(record.key(), record.value(), record.timestamp());
  }
};

// A task that has put a version of `k` at 0, 10, 20 ... 200; the history reaches back by 100.
struct VersionsFixture : TaskHarness {
  static Topology topology() {
    Topology made;
    made.versioned_store<std::string, std::int64_t>("versions",
                                                    {.history_retention = milliseconds{100}});
    made.stream(numbers).process<PuttingVersions>(connects("versions"));
    return made;
  }
  VersionsFixture() : TaskHarness(topology()) {
    BOOST_REQUIRE(start().ok());
    for (std::int64_t time = 0; time <= 200; time += 10) put("k", time);
    BOOST_REQUIRE(task->checkpoint().ok());
  }
  void put(const std::string& key, std::int64_t time) {
    append("numbers", key, std::string(7, '\0') + '\1', from_millis(time));
    BOOST_REQUIRE(process(10).has_value());
    BOOST_REQUIRE(commit().ok());
  }
  std::size_t versions_in_engine() {
    std::size_t entries = 0;
    auto scan = disk->content()->scan(0, {}, {});
    for (; (*scan)->valid(); (*scan)->next()) ++entries;
    return entries - 1;  // The observed time.
  }
  std::optional<std::int64_t> as_of(std::int64_t time) {
    const VersionedStore<std::string, std::int64_t> store{*task->find_store("versions")};
    const auto found = store.get_as_of("k", from_millis(time));
    return found ? std::optional{to_millis(found->timestamp)} : std::nullopt;
  }
};

using Starts = std::vector<std::int64_t>;

BOOST_AUTO_TEST_SUITE(restore_kinds)

// B7
BOOST_AUTO_TEST_CASE(a_changelog_cut_by_its_retention_restores_what_it_has) {
  Fixture f;
  for (std::int64_t time = 0; time <= 500'000; time += 100'000) f.put(time);
  f.crash(false);
  const auto start = f.restore_from(3);
  BOOST_REQUIRE(start.has_value());
  BOOST_TEST(start->stores[0].restored_from == 3);
  BOOST_TEST(start->stores[0].records == 3U);
  BOOST_TEST(start->stores[0].rebuilt.empty());
}

BOOST_AUTO_TEST_CASE(an_engine_behind_the_cut_is_rebuilt_and_one_at_the_end_is_kept) {
  Fixture f;
  f.put(0);
  BOOST_REQUIRE(f.task->checkpoint().ok());
  for (std::int64_t time = 100'000; time <= 500'000; time += 100'000) f.put(time);
  f.crash(true);
  auto start = f.restore_from(3);
  BOOST_REQUIRE(start.has_value());
  BOOST_TEST(start->stores[0].rebuilt.find("deleted by their age") != std::string::npos);
  BOOST_TEST(start->stores[0].records == 3U);
  start = f.restore_from(6);  // All is in the engine: what the log has lost does not matter.
  BOOST_REQUIRE(start.has_value());
  BOOST_TEST(start->stores[0].rebuilt.empty());
  BOOST_TEST(start->stores[0].records == 0U);
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST((f.starts() == Starts{300'000, 400'000, 500'000}));
}

BOOST_AUTO_TEST_CASE(another_retention_rebuilds_the_engine) {
  Fixture f;
  for (std::int64_t time = 0; time <= 500'000; time += 100'000) f.put(time);
  BOOST_REQUIRE(f.task->checkpoint().ok());
  BOOST_TEST((f.starts() == Starts{300'000, 400'000, 500'000}));
  for (const milliseconds retention : {milliseconds{550'000}, milliseconds{150'000}}) {
    f.crash(true);
    f.graph = with_retention(retention).graph();
    f.graph->freeze();
    f.plan.graph = f.graph;
    BOOST_REQUIRE(f.start().ok());
    BOOST_TEST(f.begun.stores[0].rebuilt.find("retention") != std::string::npos);
    BOOST_TEST((f.starts() == (retention > milliseconds{500'000}
                                   ? Starts{0, 100'000, 200'000, 300'000, 400'000, 500'000}
                                   : Starts{400'000, 500'000})));
    BOOST_REQUIRE(f.task->checkpoint().ok());
  }
  f.crash(true);
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST(f.begun.stores[0].rebuilt.empty());
  BOOST_TEST(f.begun.stores[0].records == 0U);
}

// The changelog has them all; what no time in the history is answered by goes without another put.
BOOST_AUTO_TEST_CASE(old_versions_that_a_restore_brings_back_go_again) {
  VersionsFixture f;
  BOOST_TEST(f.versions_in_engine() == 11U);
  f.crash(false);
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST(f.versions_in_engine() == 21U);
  const std::size_t logged = f.changelog_log().size();
  BOOST_REQUIRE(f.commit().ok());
  BOOST_REQUIRE(f.task->checkpoint().ok());
  BOOST_TEST(f.versions_in_engine() == 11U);
  BOOST_TEST(f.changelog_log().size() == logged);
  f.put("other", 255);
  BOOST_REQUIRE(f.task->checkpoint().ok());
  BOOST_TEST(f.versions_in_engine() == 7U);  // As of 150 .. 200, and the other's.
  BOOST_TEST((f.as_of(155) == 150));
  BOOST_TEST((f.as_of(1000) == 200));
}

BOOST_AUTO_TEST_CASE(an_engine_with_versions_without_length_is_rebuilt) {
  VersionsFixture f;
  const auto position = **f.disk->content()->position(0);
  std::string record;
  Serde<std::int64_t>::encode(200, record);
  Serde<std::int64_t>::encode(60'000, record);
  const std::array changes{EngineChange{KeyLayout::kTimeKey, record}};
  const StoreCheckpoint part{0, changes, position};
  BOOST_REQUIRE(f.disk->content()->apply({{&part, 1}, {}}).ok());
  f.crash(true);
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST(!f.begun.stores[0].rebuilt.empty());
  BOOST_TEST((f.as_of(105) == 100));
  f.crash(true);
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST(f.begun.stores[0].rebuilt.empty());
}

// A stranger's window far in the future is healed by a tombstone, which expires nothing: now or
// after a restore.
BOOST_AUTO_TEST_CASE(a_foreign_record_of_the_future_expires_nothing) {
  Fixture f;
  f.put(100'000);
  std::string future{"k\0\0\0\x7f\0\0\0\0\0\0\0\0", 13};
  f.log.append(f.changelog(), {future, std::string(8, '\7'), from_millis(1), {}});
  for (int round = 0; round < 2; ++round) {
    f.crash(false);
    BOOST_REQUIRE(f.start().ok());
    BOOST_TEST((f.starts() == Starts{100'000}));
    BOOST_TEST(f.task->find_store("windows")->observed_time() == 100'000);
  }
  BOOST_TEST(f.changelog_log().size() == 3U);
  BOOST_TEST((f.changelog_log().back().key == future));
  BOOST_TEST(!f.changelog_log().back().value.has_value());
}

// Half a minute more is another retention, though segments are as long as before.
BOOST_AUTO_TEST_CASE(a_window_that_has_expired_does_not_come_back_with_a_longer_retention) {
  Fixture f{milliseconds{60'000}};
  f.put(0);
  BOOST_REQUIRE(f.task->checkpoint().ok());
  f.put(70'000);
  BOOST_REQUIRE(f.task->checkpoint().ok());
  f.crash(true);
  f.graph = with_retention(milliseconds{90'000}).graph();
  f.graph->freeze();
  f.plan.graph = f.graph;
  BOOST_REQUIRE(f.start().ok());
  BOOST_TEST(f.begun.stores[0].rebuilt.find("retention") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_engine_of_another_kind_of_store_is_rebuilt) {
  Topology counts;
  counts.stream(numbers).group_by_key().count("versions");
  for (const bool keep_disk : {true, false}) {
    TaskHarness task{counts};
    BOOST_REQUIRE(task.start().ok());
    task.append("numbers", "k", i64(1));
    BOOST_REQUIRE(task.process(10).has_value());
    BOOST_REQUIRE(task.commit().ok());
    BOOST_REQUIRE(task.task->checkpoint().ok());
    task.crash(keep_disk);
    task.graph = VersionsFixture::topology().graph();
    task.graph->freeze();
    task.plan.graph = task.graph;
    BOOST_REQUIRE(task.start().ok());
    BOOST_TEST((task.begun.stores[0].rebuilt.find("of another kind") != std::string::npos) ==
               keep_disk);
    const VersionedStore<std::string, std::int64_t> store{*task.task->find_store("versions")};
    BOOST_TEST(store.get("k").has_value());
    BOOST_REQUIRE(task.commit().ok());
    BOOST_REQUIRE(task.task->checkpoint().ok());
    task.crash(true);
    BOOST_REQUIRE(task.start().ok());
    BOOST_TEST(task.begun.stores[0].rebuilt == "");
  }
}

// Its brokers delete by age while the first store is restored, and while it is read itself.
BOOST_AUTO_TEST_CASE(a_changelog_that_is_cut_during_the_restore_restores_what_it_has) {
  class Cutting final : public RestoreObserver {
   public:
    explicit Cutting(Fixture& f) : f_(f) {}
    void progress(std::size_t, std::int64_t, std::int64_t) override {
      if (start_ < 3) f_.log.delete_before(f_.changelog(), ++start_);
    }

   private:
    Fixture& f_;
    std::int64_t start_ = 0;
  };
  Fixture f;
  for (std::int64_t time = 0; time <= 500'000; time += 100'000) f.put(time);
  f.crash(false);
  Cutting cutting{f};
  f.observer = &cutting;
  const auto status = f.start();
  BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  BOOST_TEST(f.begun.stores[0].restored_from == 3);
  BOOST_TEST((f.starts() == Starts{300'000, 400'000, 500'000}));
}

BOOST_AUTO_TEST_CASE(a_tail_that_is_cut_is_what_is_left_of_it) {
  Fixture f;
  f.put(0);
  BOOST_REQUIRE(f.task->checkpoint().ok());
  for (const std::int64_t time : {100'000, 200'000}) {
    f.append("numbers", "k", std::string(7, '\0') + '\1', from_millis(time));
  }
  BOOST_REQUIRE(f.process(10).has_value());
  BOOST_REQUIRE(f.task->prepare().has_value());
  f.crash(true);
  f.log.delete_before(f.changelog(), static_cast<std::int64_t>(f.changelog_log().size()) - 1);
  const auto status = f.start();
  BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  BOOST_TEST(f.begun.stores[0].tail_keys.size() == 1U);
  BOOST_TEST((f.starts() == Starts{0}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
