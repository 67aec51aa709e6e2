// SPDX-License-Identifier: Apache-2.0
//
// Committed values that compaction may have taken before a restore needs them: durability, B6 (d).
#include <boost/test/unit_test.hpp>
#include <utility>

#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using namespace std::chrono_literals;

const Topic<std::string, std::string> words{"words"};
constexpr auto kLag = 10min;

Topology counting() {
  Topology topology;
  topology.stream(words).group_by_key().count("counts");
  return topology;
}

// A task that has counted `a` to 2 and `b` to 1, and dies in the commit of another `a` and of a new
// key: both are in the changelog, behind the committed end.
struct Crashed : TaskHarness {
  explicit Crashed(bool keep_disk) : TaskHarness(counting()) {
    clock.advance(std::chrono::hours{24 * 20});
    restore_settings.min_compaction_lags = {{"app-counts-changelog", kLag}};
    BOOST_REQUIRE(start().ok());
    count({"a", "b"});
    BOOST_REQUIRE(commit().ok());
    count({"a"});
    BOOST_REQUIRE(commit().ok());
    BOOST_REQUIRE(task->checkpoint().ok());
    count({"a", "new"});
    BOOST_REQUIRE(task->prepare().has_value());
    crash(keep_disk);
  }
  void count(const std::vector<std::string>& keys) {
    for (const auto& key : keys) append("words", key, "x", clock.now());
    BOOST_REQUIRE(process(10).has_value());
  }
  // Time passes, the broker's segment rolls, and its cleaner comes by.
  void pass(std::chrono::milliseconds time, bool compact = true) {
    clock.advance(time);
    if (!compact) return;
    log.clean(changelog(), {clock.now(), kLag, 24h, 1});
  }
};

BOOST_AUTO_TEST_SUITE(unknown_values)

// Without the error the count of `a` would begin anew, silently.
BOOST_AUTO_TEST_CASE(a_value_that_may_be_compacted_away_is_an_error_for_a_person) {
  Crashed task{false};
  task.log.append(task.changelog(), {"of another segment", std::nullopt, {}, {}});
  task.pass(kLag + 1min);
  const auto status = task.start();
  BOOST_CHECK(status.code() == Code::kInvalidArgument);
  // `a` is gone, of `new` and of the segment's key nobody knows that they were never there.
  BOOST_TEST(status.message() == UnknownValuesError("app-counts-changelog", 0, 3).what());
}

// The deletion that superseded the value of `a` is gone as well: only its offset is left.
BOOST_AUTO_TEST_CASE(a_deletion_in_the_tail_that_is_compacted_away_is_counted) {
  Crashed task{false};
  task.log.append(task.changelog(), {"a", std::nullopt, task.clock.now(), {}});
  task.log.append(task.changelog(), {"b", i64(9), task.clock.now(), {}});  // Another segment.
  for (const auto outage : {kLag + 1min, 25 * 60min}) task.pass(outage);
  const auto status = task.start();
  BOOST_CHECK(status.code() == Code::kInvalidArgument);
  // With `new`, and the record of `a` in front of its deletion.
  BOOST_TEST(status.message() == UnknownValuesError("app-counts-changelog", 0, 3).what());
}

// The engine has the value, but the log must get it back, or the next disk takes it along.
BOOST_AUTO_TEST_CASE(behind_such_a_deletion_a_disk_that_is_kept_is_written_again) {
  Crashed task{true};
  task.log.append(task.changelog(), {"a", std::nullopt, task.clock.now(), {}});
  task.log.append(task.changelog(), {"b", i64(9), task.clock.now(), {}});  // Another segment.
  for (const auto outage : {kLag + 1min, 25 * 60min}) task.pass(outage);
  BOOST_REQUIRE(task.start().ok());
  task.crash(false);
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST((task.live() == Contents{{"a", i64(2)}, {"b", i64(1)}}));
}

// Its markers take offsets.
BOOST_AUTO_TEST_CASE(holes_in_a_tail_of_transactions_are_no_deletions) {
  Crashed task{false};
  task.settings.transactional = true;
  task.log.append(task.changelog(), {"a", std::nullopt, task.clock.now(), {}});
  task.log.append(task.changelog(), {"b", i64(9), task.clock.now(), {}});
  for (const auto outage : {kLag + 1min, 25 * 60min}) task.pass(outage);
  const auto status = task.start();
  BOOST_TEST(status.message() == UnknownValuesError("app-counts-changelog", 0, 1).what());
}

// A process supervisor starts the application again at once.
BOOST_AUTO_TEST_CASE(no_later_start_takes_such_a_value_for_absent) {
  Crashed task{false};
  task.log.append(task.changelog(), {"of another segment", std::nullopt, {}, {}});
  task.pass(kLag + 1min);
  for (int i = 0; i < 3; ++i) {
    BOOST_CHECK(task.start().code() == Code::kInvalidArgument);
    task.crash(true);
  }
}

// The cleaner comes by between the reading of the tail and that of the log.
BOOST_AUTO_TEST_CASE(a_lag_that_passes_during_the_restore_is_noticed_by_it_and_by_each_later_one) {
  class Cleaner final : public RestoreObserver {
   public:
    explicit Cleaner(Crashed& task) : task_(task) {}
    void progress(std::size_t, std::int64_t, std::int64_t) override {
      if (!std::exchange(done_, true)) task_.pass(2min);
    }

   private:
    Crashed& task_;
    bool done_ = false;
  };
  Crashed task{false};
  task.log.append(task.changelog(), {"of another segment", std::nullopt, {}, {}});
  task.pass(kLag - 1min, false);
  Cleaner cleaner{task};
  task.observer = &cleaner;
  for (int i = 0; i < 3; ++i) {
    BOOST_CHECK(task.start().code() == Code::kInvalidArgument);
    task.crash(true);
  }
}

// Under the clock's record nothing is compacted, however old the changes are.
BOOST_AUTO_TEST_CASE(old_changes_behind_a_record_of_the_clocks_time_are_as_young_as_that) {
  TaskHarness task{counting()};
  task.clock.advance(std::chrono::hours{24 * 20});
  task.restore_settings.min_compaction_lags = {{"app-counts-changelog", kLag}};
  BOOST_REQUIRE(task.start().ok());
  const auto count = [&](const std::string& key) {
    task.append("words", key, "x", task.clock.now() - 24h);
    BOOST_REQUIRE(task.process(10).has_value());
  };
  for (int i = 0; i < 2; ++i) {
    count("a");
    BOOST_REQUIRE(task.commit().ok());
    task.clock.advance(kLag + 1min);
  }
  task.log.clean(task.changelog(), {task.clock.now(), kLag, 24h, 1});
  count("new");
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(false);
  task.clock.advance(10s);
  BOOST_TEST(task.start().ok());
  BOOST_TEST((task.live() == Contents{{"a", i64(2)}}));
}

BOOST_AUTO_TEST_CASE(or_is_accepted_as_the_changelog_shows_it_and_counted) {
  Crashed task{false};
  task.log.append(task.changelog(), {"of another segment", std::nullopt, {}, {}});
  task.pass(kLag + 1min);
  task.restore_settings.accept_unknown_values = true;
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST(task.begun.stores[0].unknown_values == 3U);
  BOOST_TEST((task.live() == Contents{{"b", i64(1)}}));
}

BOOST_AUTO_TEST_CASE(a_start_within_the_lag_knows_all_values) {
  Crashed task{false};
  task.log.append(task.changelog(), {"of another segment", std::nullopt, {}, {}});
  task.pass(kLag - 1min);
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST((task.live() == Contents{{"a", i64(2)}, {"b", i64(1)}}));
}

BOOST_AUTO_TEST_CASE(a_log_without_holes_has_lost_nothing) {
  Crashed task{false};
  task.pass(10 * kLag, false);
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST((task.live() == Contents{{"a", i64(2)}, {"b", i64(1)}}));
}

// The engine is at the committed end: whatever the log has lost below is in it.
BOOST_AUTO_TEST_CASE(a_disk_that_is_kept_knows_all_values) {
  Crashed task{true};
  task.log.append(task.changelog(), {"of another segment", std::nullopt, {}, {}});
  task.pass(kLag + 1min);
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST((task.live() == Contents{{"a", i64(2)}, {"b", i64(1)}}));
}

// Compacted long ago, and the tail is of keys that the log shows.
BOOST_AUTO_TEST_CASE(a_key_that_the_log_shows_below_the_committed_end_is_known) {
  TaskHarness task{counting()};
  task.clock.advance(std::chrono::hours{24 * 20});
  task.restore_settings.min_compaction_lags = {{"app-counts-changelog", kLag}};
  BOOST_REQUIRE(task.start().ok());
  const auto count = [&] {
    task.append("words", "a", "x", task.clock.now());
    BOOST_REQUIRE(task.process(10).has_value());
  };
  for (int i = 0; i < 3; ++i) {
    count();
    BOOST_REQUIRE(task.commit().ok());
  }
  task.clock.advance(kLag + 1min);
  task.log.clean(task.changelog(), {task.clock.now(), kLag, 24h, 1});
  count();
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(false);
  task.clock.advance(kLag + 1min);
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST((task.live() == Contents{{"a", i64(3)}}));
}

class Versioning final : public Processor<std::string, std::string, std::string, std::string> {
 public:
  void process(const Record<std::string, std::string>& record, Context& context) override {
    context.versioned_store<std::string, std::string>("versions")
        .put(record.key(), record.value(), record.timestamp());
  }
};

// B12. The newest version does not expire, and a later one in the tail supersedes it in the log.
BOOST_AUTO_TEST_CASE(a_version_that_may_be_compacted_away_is_an_error_after_the_lag_of_its_own) {
  constexpr auto kHistoryLag = 48h;
  Topology topology;
  topology.versioned_store<std::string, std::string>("versions", {.history_retention = 24h});
  topology.stream(words).process<Versioning>(connects("versions"));
  TaskHarness task{topology};
  task.clock.advance(std::chrono::hours{24 * 20});
  task.restore_settings.min_compaction_lags = {{"app-versions-changelog", kHistoryLag}};
  BOOST_REQUIRE(task.start().ok());
  const auto put = [&](const std::string& key) {
    task.append("words", key, "x", task.clock.now());
    BOOST_REQUIRE(task.process(10).has_value());
  };
  put("a");
  BOOST_REQUIRE(task.commit().ok());
  task.clock.advance(1s);
  put("a");
  put("of another segment");
  BOOST_REQUIRE(task.task->prepare().has_value());
  const auto start_after = [&](std::chrono::milliseconds outage) {
    task.crash(false);
    task.clock.advance(outage);
    task.log.clean(task.changelog(), {task.clock.now(), kHistoryLag, 24h * 30, 1});
    return task.create();
  };
  BOOST_TEST(start_after(47h).ok());
  BOOST_TEST(start_after(2h).message() ==
             UnknownValuesError("app-versions-changelog", 0, 2).what());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
