// SPDX-License-Identifier: Apache-2.0
//
// Committed values that compaction may have taken before a restore needs them: durability, B6 (d).
#include <boost/test/unit_test.hpp>
#include <utility>

#include "tests/runtime/putting_processors.h"
#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using namespace std::chrono_literals;

const Topic<std::string, std::string> words{"words"};
constexpr auto kLag = 10min;
constexpr auto kHistoryLag = 48h;

Topology counting() {
  Topology topology;
  topology.stream(words).group_by_key().count("counts");
  return topology;
}

// A task that has begun, with a changelog that is compacted after `lag`.
struct Begun : TaskHarness {
  Begun(const Topology& topology, const std::string& store, std::chrono::milliseconds lag,
        bool transactional = false)
      : TaskHarness(topology) {
    clock.advance(std::chrono::hours{24 * 20});
    restore_settings.min_compaction_lags = {{"app-" + store + "-changelog", lag}};
    settings.transactional = transactional;
    BOOST_REQUIRE(start().ok());
  }
};

// A task that has counted `a` to 2 and `b` to 1, and dies in the commit of another `a` and of a new
// key: both are in the changelog, behind the committed end.
struct Crashed : Begun {
  explicit Crashed(bool keep_disk) : Begun(counting(), "counts", kLag) {
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

Topology windowing() {
  Topology topology;
  topology.window_store<std::string, std::string>("windows", {.size = 1min, .retention = 24h * 7});
  topology.stream(words).process<PuttingWindows>(connects("windows"));
  return topology;
}

Topology versioning() {
  Topology topology;
  topology.versioned_store<std::string, std::string>("versions", {.history_retention = 24h});
  topology.stream(words).process<PuttingVersions>(connects("versions"));
  return topology;
}

void put(TaskHarness& task, const std::string& key, const std::string& value, Timestamp time) {
  task.append("words", key, value, time);
  BOOST_REQUIRE(task.process(10).has_value());
}

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

// Markers, and what was in a transaction that was given up, in front of a stranger's record.
BOOST_AUTO_TEST_CASE(holes_in_a_tail_of_transactions_are_no_deletions) {
  Begun task{counting(), "counts", kLag, true};
  put(task, "a", "x", task.clock.now());
  BOOST_REQUIRE(task.commit().ok());
  put(task, "a", "x", task.clock.now());
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(false);
  task.log.end_transaction(false);
  task.log.append(task.changelog(), {"a", i64(9), task.clock.now(), {}});
  task.clock.advance(25h);
  const auto status = task.start();
  BOOST_TEST(status.ok(), status.to_string());
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
  Begun task{counting(), "counts", kLag};
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
  Begun task{counting(), "counts", kLag};
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

// B12. The newest version does not expire, and a later one in the tail supersedes it in the log.
BOOST_AUTO_TEST_CASE(a_version_that_may_be_compacted_away_is_an_error_after_the_lag_of_its_own) {
  Begun task{versioning(), "versions", kHistoryLag};
  put(task, "a", "x", task.clock.now());
  BOOST_REQUIRE(task.commit().ok());
  task.clock.advance(1s);
  put(task, "a", "x", task.clock.now());
  put(task, "of another segment", "x", task.clock.now());
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

// The time that a store observes is no key to be written again.
BOOST_AUTO_TEST_CASE(windows_start_at_least_once_a_day_after_a_clean_stop_of_exactly_once) {
  Begun task{windowing(), "windows", kLag, true};
  put(task, "a", "1", task.clock.now());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_REQUIRE(task.task->close().ok());
  task.crash(true);
  task.clock.advance(25h);
  task.settings.transactional = false;
  const auto status = task.start();
  BOOST_TEST(status.ok(), status.to_string());
}

// Killed twice, the second time in the healing, with the same records: compaction takes doubles,
// too.
BOOST_AUTO_TEST_CASE(windows_start_after_a_tail_that_was_compacted) {
  Begun task{windowing(), "windows", kLag};
  put(task, "a", "1", task.clock.now());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_REQUIRE(task.task->checkpoint().ok());
  const auto time = task.clock.now();
  put(task, "a", "2", time);
  put(task, "b", "2", time);
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(true);
  BOOST_REQUIRE(task.create().ok());
  BOOST_REQUIRE(task.task->prepare_start().has_value());
  task.crash(true);
  for (int i = 0; i < 2; ++i) {
    task.clock.advance(25h);
    task.log.clean(task.changelog(), {task.clock.now(), kLag, 24h, 1});
  }
  const auto status = task.start();
  BOOST_TEST(status.ok(), status.to_string());
}

BOOST_AUTO_TEST_CASE(windows_start_after_a_tail_that_was_deleted_by_age) {
  Begun task{windowing(), "windows", kLag};
  put(task, "a", "1", task.clock.now());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_REQUIRE(task.task->checkpoint().ok());
  put(task, "b", "2", task.clock.now());
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(true);
  task.clock.advance(24h * 9);
  task.log.delete_before(task.changelog(), static_cast<std::int64_t>(task.changelog_log().size()));
  const auto status = task.start();
  BOOST_TEST(status.ok(), status.to_string());
}

// B12. What is written last of a key is its newest version.
BOOST_AUTO_TEST_CASE(versions_that_are_written_again_survive_the_next_compaction) {
  Begun task{versioning(), "versions", kHistoryLag};
  const auto time = task.clock.now();
  put(task, "a", "1", time);
  put(task, "a", "2", time + 1s);
  BOOST_REQUIRE(task.commit().ok());
  BOOST_REQUIRE(task.task->checkpoint().ok());
  // A crashed commit; the second start's healing crashes, too.
  put(task, "b", "x", time + 2s);
  put(task, "b", "y", time + 3s);
  put(task, "c", "of another segment", time + 3s);
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(true);
  for (int i = 0; i < 2; ++i) {
    task.clock.advance(49h);
    task.log.clean(task.changelog(), {task.clock.now(), kHistoryLag, 24h, 1});
  }
  const auto status = task.start();
  BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  // Much later: other records close the segment.
  put(task, "z", "z", task.clock.now());
  BOOST_REQUIRE(task.commit().ok());
  task.clock.advance(49h);
  task.log.clean(task.changelog(), {task.clock.now(), kHistoryLag, 24h, 1});
  task.crash(false);
  const auto again = task.start();
  BOOST_REQUIRE_MESSAGE(again.ok(), again.to_string());
  const VersionedStore<std::string, std::string> store{*task.task->find_store("versions")};
  BOOST_REQUIRE(store.get("a").has_value());
  BOOST_TEST(store.get("a")->value == "2");
}

// B12. A version of a crash, older than the newest one.
BOOST_AUTO_TEST_CASE(healing_an_out_of_order_version_does_not_cost_the_newest_one) {
  Begun task{versioning(), "versions", kHistoryLag};
  const auto time = task.clock.now();
  put(task, "a", "2", time);
  put(task, "z", "z", time);
  BOOST_REQUIRE(task.commit().ok());
  task.log.append(task.changelog(), {"a", "foreign", time - 1s, {}});
  task.crash(true);
  BOOST_REQUIRE(task.start().ok());
  put(task, "z", "z", time);
  BOOST_REQUIRE(task.commit().ok());
  task.clock.advance(49h);
  task.log.clean(task.changelog(), {task.clock.now(), kHistoryLag, 24h, 1});
  task.crash(false);
  BOOST_REQUIRE(task.start().ok());
  const VersionedStore<std::string, std::string> store{*task.task->find_store("versions")};
  BOOST_REQUIRE(store.get("a").has_value());
  BOOST_TEST(store.get("a")->value == "2");
}

// Brokers never take the last record of a log: behind it are markers only.
BOOST_AUTO_TEST_CASE(a_clean_stop_of_exactly_once_and_a_new_disk_is_no_unknown_value) {
  Begun task{counting(), "counts", kLag, true};
  for (int i = 0; i < 2; ++i) {
    put(task, "a", "x", task.clock.now());
    BOOST_REQUIRE(task.commit().ok());
  }
  BOOST_REQUIRE(task.task->close().ok());
  task.crash(false);
  task.clock.advance(25h);
  task.settings.transactional = false;
  const auto status = task.start();
  BOOST_TEST(status.ok(), status.to_string());
}

BOOST_AUTO_TEST_CASE(a_marker_of_long_ago_is_no_unknown_value) {
  Begun task{counting(), "counts", kLag, true};
  for (int i = 0; i < 2; ++i) {
    put(task, "a", "x", task.clock.now());
    BOOST_REQUIRE(task.commit().ok());
  }
  BOOST_REQUIRE(task.task->close().ok());
  task.crash(true);
  task.settings.transactional = false;
  BOOST_REQUIRE(task.start().ok());
  task.clock.advance(24h * 30);
  const auto end = task.log.ends_now(task.changelog())->end;
  BOOST_REQUIRE(task.task->check_logs(std::vector<std::int64_t>{end}, true).ok());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_REQUIRE(task.task->close().ok());
  task.crash(false);
  task.clock.advance(25h);
  const auto status = task.start();
  BOOST_TEST(status.ok(), status.to_string());
}

// Records that are 2 minutes late follow no clock record: they are protected for 8 minutes.
BOOST_AUTO_TEST_CASE(a_value_lost_between_three_quarters_of_the_lag_and_the_lag_is_noticed) {
  Begun task{counting(), "counts", kLag};
  const auto late = [&] { return task.clock.now() - 2min; };
  for (int i = 0; i < 2; ++i) {
    put(task, "a", "x", late());
    BOOST_REQUIRE(task.commit().ok());
  }
  put(task, "a", "x", late());
  put(task, "b", "x", late());  // Another segment.
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(false);
  task.clock.advance(9min);
  task.log.clean(task.changelog(), {task.clock.now(), kLag, 24h, 1});
  BOOST_CHECK(task.start().code() == Code::kInvalidArgument);
}

// Versions have no clock records: a replay of old ones is not protected at all.
BOOST_AUTO_TEST_CASE(an_old_version_compacted_within_the_lag_is_noticed) {
  Begun task{versioning(), "versions", kHistoryLag};
  const auto old = task.clock.now() - 24h * 5;  // A replay.
  put(task, "a", "1", old);
  BOOST_REQUIRE(task.commit().ok());
  put(task, "a", "2", old + 1s);
  put(task, "of another segment", "x", old + 1s);
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(false);
  task.clock.advance(1min);
  task.log.clean(task.changelog(), {task.clock.now(), kHistoryLag, 24h, 1});
  BOOST_CHECK(task.start().code() == Code::kInvalidArgument);
}

// The lag passes during a restore, which is given up with a part written.
BOOST_AUTO_TEST_CASE(a_part_of_a_restore_is_not_taken_for_complete) {
  class Impatient final : public RestoreObserver {
   public:
    explicit Impatient(Crashed& task) : task_(task) {}
    bool cancelled() const override { return batches_ > 3; }
    void progress(std::size_t, std::int64_t, std::int64_t) override {
      if (++batches_ == 2) task_.pass(2min);
    }

   private:
    Crashed& task_;
    int batches_ = 0;
  };
  Crashed task{true};
  // Healed; then 200 keys, `a` in the second batch, and more behind it.
  BOOST_REQUIRE(task.start().ok());
  for (int i = 0; i < 150; ++i)
    task.append("words", "k" + std::to_string(i), "x", task.clock.now());
  BOOST_REQUIRE(task.process(1000).has_value());
  BOOST_REQUIRE(task.commit().ok());
  task.count({"a"});
  BOOST_REQUIRE(task.commit().ok());
  for (int i = 0; i < 300; ++i)
    task.append("words", "m" + std::to_string(i), "x", task.clock.now());
  BOOST_REQUIRE(task.process(1000).has_value());
  BOOST_REQUIRE(task.commit().ok());
  task.count({"a"});
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(false);
  task.log.append(task.changelog(), {"of another segment", std::nullopt, {}, {}});
  task.pass(kLag - 1min, false);
  task.restore_settings.batch_bytes_max = 1;
  Impatient observer{task};
  task.observer = &observer;
  BOOST_CHECK(task.start().code() == Code::kCancelled);
  task.observer = nullptr;
  task.crash(true);
  BOOST_CHECK(task.start().code() == Code::kInvalidArgument);
}

// Gives up a restore when it has written the first batch.
struct GivenUp final : RestoreObserver {
  explicit GivenUp(TaskHarness& task) : task_(task) {
    task_.restore_settings.batch_bytes_max = 1;
    task_.observer = this;
    BOOST_CHECK(task_.create().code() == Code::kCancelled);
    task_.observer = nullptr;
    task_.crash(true);
  }
  bool cancelled() const override { return batches_ > 1; }
  void progress(std::size_t, std::int64_t, std::int64_t) override { ++batches_; }

 private:
  TaskHarness& task_;
  int batches_ = 0;
};

// A changelog of more than one batch, in which `a` stands first; the crash leaves another `a`.
struct Long : Begun {
  Long(bool checkpoint_first, bool rewrites) : Begun(counting(), "counts", kLag) {
    put(*this, "a", "x", clock.now());
    BOOST_REQUIRE(commit().ok());
    if (checkpoint_first) BOOST_REQUIRE(task->checkpoint().ok());
    for (int i = 0; i < 500; ++i) {
      // Behind the first batch.
      const bool again = rewrites && i >= 450;
      append("words", "k" + std::to_string(again ? i - 200 : i), "x", clock.now());
      if (i % 50 < 49) continue;
      BOOST_REQUIRE(process(1000).has_value());
      BOOST_REQUIRE(commit().ok());
    }
    put(*this, "a", "x", clock.now());
    if (!rewrites) put(*this, "of another segment", "x", clock.now());
    BOOST_REQUIRE(task->prepare().has_value());
  }
};

// The keys of the tail are in the part that was written, and compaction has been there before.
BOOST_AUTO_TEST_CASE(a_restore_that_is_given_up_leaves_nothing_that_the_next_one_refuses) {
  Long task{false, true};
  task.crash(false);
  task.log.clean({"app-counts-changelog", 0}, {task.clock.now() + kLag * 2, kLag, 24h, 100});
  BOOST_REQUIRE(std::ranges::any_of(task.changelog_log(),
                                    [](const auto& record) { return !record.visible(); }));
  const auto a = std::ranges::find_if(task.changelog_log(), [](const auto& record) {
    return record.visible() && record.key == "a";
  });
  BOOST_REQUIRE(a == task.changelog_log().begin());
  task.clock.advance(kLag + 1min);
  GivenUp{task};
  const auto status = task.start();
  BOOST_TEST(status.ok(), status.to_string());
  BOOST_TEST(task.live().at("a") == i64(1));
}

// The value is in the engine only: nothing that a given-up restore leaves may cost the engine.
BOOST_AUTO_TEST_CASE(a_restore_that_is_given_up_keeps_the_only_copy_of_a_value) {
  Long task{true, false};
  task.crash(true);
  task.clock.advance(kLag + 1min);
  task.log.clean(task.changelog(), {task.clock.now(), kLag, 24h, 1});
  GivenUp{task};
  const auto status = task.start();
  BOOST_TEST(status.ok(), status.to_string());
  BOOST_TEST(task.begun.stores[0].rebuilt == "");
  BOOST_TEST(task.live().at("a") == i64(1));
}

BOOST_AUTO_TEST_CASE(a_table_on_its_topic_is_not_written_again_for_another_stores_tail) {
  static const Topic<std::string, std::string> rows{"rows"};
  class Counting final : public Processor<std::string, std::string, std::string, std::string> {
   public:
    void process(const Record<std::string, std::string>& record, Context& context) override {
      context.store<std::string, std::string>("a-counts").put(record.key(), record.value());
    }
  };
  Topology topology;
  topology.store<std::string, std::string>("a-counts");
  static_cast<void>(topology.table(rows, "b-rows"));
  topology.stream(words).process<Counting>(connects("a-counts", "b-rows"));
  TaskHarness task{topology};
  task.clock.advance(std::chrono::hours{24 * 20});
  BOOST_REQUIRE(task.start().ok());
  for (int i = 0; i < 5; ++i) task.append("rows", "r" + std::to_string(i), "x", task.clock.now());
  BOOST_REQUIRE(task.process(100).has_value());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_REQUIRE(task.task->checkpoint().ok());
  put(task, "a", "1", task.clock.now());
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(true);
  task.clock.advance(25h);
  BOOST_REQUIRE(task.start().ok());
  for (const auto& store : task.begun.stores) BOOST_TEST(store.tail_keys.size() <= 1U);
}

BOOST_AUTO_TEST_CASE(a_value_compacted_away_between_the_look_and_the_load_is_noticed) {
  class Cleaner final : public RestoreObserver {
   public:
    explicit Cleaner(TaskHarness& task) : task_(task) {}
    void progress(std::size_t, std::int64_t, std::int64_t) override {
      if (std::exchange(done_, true)) return;
      task_.log.clean(task_.changelog(), {task_.clock.now(), kLag, 24h, 1});
    }

   private:
    TaskHarness& task_;
    bool done_ = false;
  };
  Begun task{counting(), "counts", kLag};
  put(task, "a", "x", task.clock.now());
  put(task, "b", "x", task.clock.now());
  BOOST_REQUIRE(task.commit().ok());
  put(task, "a", "x", task.clock.now());
  put(task, "b", "x", task.clock.now());
  BOOST_REQUIRE(task.task->prepare().has_value());
  task.crash(false);
  task.clock.advance(kLag + 1min);
  Cleaner cleaner{task};
  task.observer = &cleaner;
  BOOST_CHECK(task.start().code() == Code::kInvalidArgument);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
