// SPDX-License-Identifier: Apache-2.0
//
// The named scenarios of reference/durability.md, each by hand. The simulator covers their
// combinations.
#include <filesystem>

#include <boost/test/unit_test.hpp>

#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;

const Topic<std::string, std::string> words{"words"};

Topology counting(const std::string& store = "counts") {
  Topology topology;
  topology.stream(words).group_by_key().count(store);
  return topology;
}

// A task that has counted `a` twice and `b` once, committed.
struct Counted : TaskHarness {
  Counted() : TaskHarness(counting()) {
    BOOST_REQUIRE(start().ok());
    for (const char* key : {"a", "b", "a"}) append("words", key, "x");
    step();
  }
  void step() {
    BOOST_REQUIRE(process(1000).has_value());
    const auto status = commit();
    BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  }
  std::int64_t count(const std::string& key) {
    const auto all = live();
    return all.contains(key) ? *Serde<std::int64_t>::decode(all.at(key)) : 0;
  }
  void foreign(std::optional<std::string> key, std::optional<std::string> value) {
    log.append(changelog(), {std::move(key), std::move(value), {}, {}});
  }
  void restart(bool keep_disk = true) {
    crash(keep_disk);
    const auto status = start();
    BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  }
};

BOOST_AUTO_TEST_SUITE(durability)

// KF-13, KF-15
BOOST_AUTO_TEST_CASE(a_changelog_is_named_after_application_and_store) {
  Counted task;
  BOOST_TEST(to_string(task.changelog()) == "app-counts-changelog-0");
  BOOST_TEST(changelog_topic("bank", "accounts") == "bank-accounts-changelog");
}

// KS-18
BOOST_AUTO_TEST_CASE(nothing_is_processed_before_the_start_commit) {
  TaskHarness task{counting()};
  task.append("words", "a", "x");
  BOOST_REQUIRE(task.create().ok());
  BOOST_TEST(!task.durable());
  auto prepared = task.task->prepare_start();
  BOOST_REQUIRE(prepared.has_value());
  BOOST_TEST(task.changelog_log().empty());
  BOOST_REQUIRE(task.complete(*prepared).ok());
  BOOST_TEST(task.source() == 0);
  BOOST_TEST(task.history.size() == 1U);
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(task.source() == 1);
}

// B1
BOOST_AUTO_TEST_CASE(a_crash_in_the_very_first_commit_counts_nothing_twice) {
  for (const OffsetReset reset : {OffsetReset::kEarliest, OffsetReset::kLatest}) {
    for (const std::size_t accepted : {0U, 1U, 2U, 9U}) {
      TaskHarness task{counting()};
      task.restore_settings.reset = reset;
      if (reset == OffsetReset::kLatest) task.append("words", "old", "x");
      BOOST_REQUIRE(task.start().ok());
      task.append("words", "a", "x");
      task.append("words", "b", "x");
      BOOST_REQUIRE(task.process(10).has_value());
      task.log.lose_after(accepted);
      BOOST_REQUIRE(task.task->prepare().has_value());
      task.crash(accepted % 2 == 0);
      BOOST_REQUIRE(task.start().ok());
      BOOST_TEST(task.live().empty());
      BOOST_REQUIRE(task.process(10).has_value());
      BOOST_REQUIRE(task.commit().ok());
      const Contents expected{{"a", i64(1)}, {"b", i64(1)}};
      BOOST_TEST((task.live() == expected));
    }
  }
}

// B1, before anything was processed: with `latest` the start must not move.
BOOST_AUTO_TEST_CASE(records_that_come_after_the_first_start_are_not_lost_with_latest) {
  TaskHarness task{counting()};
  task.restore_settings.reset = OffsetReset::kLatest;
  task.append("words", "old", "x");
  BOOST_REQUIRE(task.start().ok());
  task.append("words", "a", "x");
  task.crash(false);
  BOOST_REQUIRE(task.start().ok());
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_TEST((task.live() == Contents{{"a", i64(1)}}));
}

// KF-26, KF-27
BOOST_AUTO_TEST_CASE(a_restore_stops_at_the_committed_end_and_tombstones_delete) {
  Counted task;
  task.foreign("a", std::nullopt);
  task.foreign("c", i64(99));
  task.crash(false);
  auto start = task.restore();
  BOOST_REQUIRE(start.has_value());
  BOOST_TEST(start->stores[0].committed_end == 2);
  BOOST_TEST(start->stores[0].examined_end == 4);
  BOOST_TEST(start->stores[0].records == 2U);
  BOOST_TEST((start->stores[0].tail_keys == std::vector<std::string>{"a", "c"}));
  BOOST_TEST((held(*task.disk->content(), 0) == Contents{{"a", i64(2)}, {"b", i64(1)}}));

  Topology deleting;
  deleting.stream(words).reduce<std::string>(
      "last", [](const auto& record, std::optional<std::string>, auto&) {
        return record.value() == "delete" ? std::nullopt : std::optional{record.value()};
      });
  TaskHarness other{deleting};
  BOOST_REQUIRE(other.start().ok());
  for (const char* value : {"x", "delete"}) {
    other.append("words", "a", value);
    BOOST_REQUIRE(other.process(10).has_value());
    BOOST_REQUIRE(other.commit().ok());
  }
  BOOST_TEST(other.changelog_log().size() == 2U);
  BOOST_TEST(!other.changelog_log()[1].value.has_value());  // KS-19
  other.crash(false);
  BOOST_REQUIRE(other.start().ok());
  BOOST_TEST(other.live().empty());
}

// KF-6, KF-29
BOOST_AUTO_TEST_CASE(with_the_disk_kept_only_what_came_after_the_checkpoint_is_replayed) {
  Counted task;
  BOOST_REQUIRE(task.task->checkpoint().ok());
  task.append("words", "a", "x");
  task.step();
  task.restart();
  BOOST_TEST(task.begun.stores[0].restored_from == 2);
  BOOST_TEST(task.begun.stores[0].records == 1U);
  BOOST_TEST(task.begun.stores[0].rebuilt == "");
  BOOST_TEST(task.task->position(0) == 4);
  BOOST_TEST(task.count("a") == 3);
}

// KS-11, B6a
BOOST_AUTO_TEST_CASE(a_zombies_records_after_the_commit_are_written_over_at_the_next_start) {
  for (const bool keep_disk : {true, false}) {
    Counted task;
    task.foreign("a", i64(77));
    task.foreign("zombie", i64(1));
    task.foreign(std::nullopt, i64(1));
    task.restart(keep_disk);
    BOOST_TEST(task.committed_end() == 7);  // 2 of ours, 3 foreign, 2 healed.
    BOOST_TEST((folded(task.changelog_log(), 7) == Contents{{"a", i64(2)}, {"b", i64(1)}}));
    BOOST_TEST((task.live() == Contents{{"a", i64(2)}, {"b", i64(1)}}));
    task.restart(keep_disk);
    BOOST_TEST(task.committed_end() == 7);  // Nothing left to heal.
    BOOST_TEST(task.changelog_log().size() == 7U);
  }
}

// B4: before, between and after the own records of a commit.
BOOST_AUTO_TEST_CASE(the_committed_end_never_passes_a_foreign_record) {
  for (const std::size_t place : {0U, 1U, 2U}) {
    Counted task;
    const auto before = task.committed_end();
    task.append("words", "a", "x");
    task.append("words", "b", "x");
    BOOST_REQUIRE(task.process(10).has_value());
    task.sink.intrude(place, task.changelog(), {"a", i64(77), {}, {}});
    auto prepared = task.task->prepare();
    BOOST_REQUIRE(prepared.has_value());
    auto point = task.commit_offsets(*prepared);
    if (place == 2) {
      task.sink.call_off();
      BOOST_REQUIRE(point.has_value());
      task.task->committed(*point);
      task.foreign("a", i64(77));  // After it: the next commit meets a gap.
      task.append("words", "b", "x");
      BOOST_REQUIRE(task.process(10).has_value());
      BOOST_CHECK(task.commit().code() == Code::kUnavailable);
    } else {
      BOOST_CHECK(point.error().code() == Code::kUnavailable);
      BOOST_TEST(task.committed_end() == before);
    }
    task.restart();
    BOOST_REQUIRE(task.process(10).has_value());
    BOOST_REQUIRE(task.commit().ok());
    BOOST_TEST(task.count("a") == 3);
    BOOST_TEST(task.count("b") == (place == 2 ? 3 : 2));
    BOOST_TEST((folded(task.changelog_log(), task.committed_end()) == task.live()));
  }
}

// B4 at the start: between reading the tail and healing it.
BOOST_AUTO_TEST_CASE(a_foreign_record_while_a_task_starts_makes_it_start_again) {
  for (const bool tail : {false, true}) {
    Counted task;
    if (tail) task.foreign("b", i64(5));
    task.crash(true);
    BOOST_REQUIRE(task.create().ok());
    task.foreign("a", i64(77));
    auto prepared = task.task->prepare_start();
    BOOST_REQUIRE(prepared.has_value());
    auto status = task.complete(*prepared);
    if (!tail) {  // Nothing of its own was written: the gap shows at the next commit.
      BOOST_REQUIRE(status.ok());
      task.append("words", "b", "x");
      BOOST_REQUIRE(task.process(10).has_value());
      status = task.commit();
    }
    BOOST_CHECK(status.code() == Code::kUnavailable);
    task.restart();
    BOOST_TEST((folded(task.changelog_log(), task.committed_end()) ==
                Contents{{"a", i64(2)}, {"b", i64(1)}}));
  }
}

BOOST_AUTO_TEST_CASE(healing_may_crash_again_and_again) {
  Counted task;
  task.foreign("a", i64(77));
  task.foreign("b", std::nullopt);
  for (const std::size_t accepted : {0U, 1U, 2U, 1U, 2U}) {
    task.crash(accepted != 1);
    BOOST_REQUIRE(task.create().ok());
    task.log.lose_after(accepted);
    BOOST_REQUIRE(task.task->prepare_start().has_value());
  }
  task.restart(false);
  BOOST_TEST((task.live() == Contents{{"a", i64(2)}, {"b", i64(1)}}));
  BOOST_TEST((folded(task.changelog_log(), task.committed_end()) == task.live()));
}

// B5
BOOST_AUTO_TEST_CASE(
    a_committed_value_is_read_back_though_neither_cache_nor_engine_holds_it_alone) {
  Counted task;
  BOOST_REQUIRE(task.task->checkpoint().ok());
  task.crash(true);
  task.budget = std::make_unique<CacheBudget>(0);
  BOOST_REQUIRE(task.start().ok());
  for (std::int64_t n = 3; n < 10; ++n) {
    task.append("words", "a", "x");
    task.step();
    task.task->maintain();
    BOOST_TEST(task.count("a") == n);
    BOOST_TEST((held(*task.disk->content(), 0).at("a") == i64(2)));
  }
}

// B17
BOOST_AUTO_TEST_CASE(an_engine_ahead_of_the_commit_point_is_rebuilt_and_it_is_said) {
  Counted task;
  task.append("words", "a", "x");
  task.step();
  BOOST_REQUIRE(task.task->checkpoint().ok());
  task.log.commit(task.history[task.history.size() - 2]);
  task.restart();
  BOOST_TEST(task.begun.stores[0].rebuilt.find("ahead") != std::string::npos);
  BOOST_TEST(task.count("a") == 2);
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_TEST(task.count("a") == 3);
}

// B13
BOOST_AUTO_TEST_CASE(lost_offsets_with_a_filled_changelog_are_an_error_for_a_person) {
  Counted task;
  task.log.forget_commits();
  task.crash(true);
  const auto status = task.start();
  BOOST_CHECK(status.code() == Code::kInvalidArgument);
  BOOST_TEST(status.message() == CommittedOffsetsLostError("app-counts-changelog", 0, 2).what());
}

BOOST_AUTO_TEST_CASE(lost_offsets_with_an_empty_changelog_are_a_first_start) {
  TaskHarness task{counting()};
  BOOST_REQUIRE(task.start().ok());
  task.log.forget_commits();
  task.crash(true);
  BOOST_TEST(task.start().ok());
}

// B13: topics made anew, the old disk is still there.
BOOST_AUTO_TEST_CASE(an_engine_of_another_lineage_is_rebuilt) {
  Counted old;
  BOOST_REQUIRE(old.task->checkpoint().ok());
  old.crash(true);
  TaskHarness task{counting()};
  task.disk = old.disk;
  task.lineages = 100;
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST(task.live().empty());
  BOOST_TEST(task.begun.stores[0].rebuilt.find("another history") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_state_taken_over_from_java_counts_its_whole_log_and_gets_a_lineage) {
  for (const std::string metadata :
       {"", "AgAAAAAAAAPo", "AgAAAAAAAAPoAAAAAQAAAAZjb3VudHMAAAAAAAAwOQ=="}) {
    TaskHarness task{counting()};
    for (int i = 0; i < 3; ++i) task.append("words", "a", "x");
    task.log.append(task.changelog(), {"a", i64(1), {}, {}});
    task.log.append(task.changelog(), {"a", i64(2), {}, {}});
    task.log.commit({{{"words", 0}, 2, metadata}});
    BOOST_REQUIRE(task.start().ok());
    BOOST_TEST(task.committed_end() == 2);
    BOOST_TEST(task.source() == 2);
    BOOST_REQUIRE(task.process(10).has_value());
    BOOST_REQUIRE(task.commit().ok());
    BOOST_TEST((task.live() == Contents{{"a", i64(3)}}));
    if (!metadata.empty()) BOOST_TEST(to_millis(task.task->stream_time()) == 1000);
    task.crash(false);
    BOOST_REQUIRE(task.start().ok());
    BOOST_TEST((task.live() == Contents{{"a", i64(3)}}));
  }
}

// B22
BOOST_AUTO_TEST_CASE(a_store_added_again_over_a_filled_changelog_is_an_error_for_a_person) {
  const auto two = [] {
    Topology topology = counting();
    Topology both;
    auto stream = both.stream(words);
    stream.group_by_key().count("counts");
    stream.group_by_key().count("more");
    return both;
  };
  Counted task;
  TaskHarness wider{two()};
  for (const auto& record : task.changelog_log()) wider.log.append(wider.changelog(0), record);
  wider.log.commit(task.history.back());
  wider.append("words", "a", "x"), wider.append("words", "a", "x"), wider.append("words", "a", "x");
  BOOST_REQUIRE(wider.start().ok());  // Its changelog is empty: it begins now.
  BOOST_TEST(wider.live(1).empty());

  TaskHarness again{two()};
  for (const auto& record : task.changelog_log()) again.log.append(again.changelog(0), record);
  again.log.commit(task.history.back());
  again.log.append(again.changelog(1), {"a", i64(5), {}, {}});
  const auto status = again.start();
  BOOST_CHECK(status.code() == Code::kInvalidArgument);
  BOOST_TEST(status.message().find("app-more-changelog-0") != std::string::npos);
}

// B18
BOOST_AUTO_TEST_CASE(a_log_shorter_than_the_commit_point_is_corruption) {
  Counted task;
  TaskHarness truncated{counting()};
  truncated.log.append(truncated.changelog(), task.changelog_log()[0]);
  truncated.log.commit(task.history.back());
  const auto status = truncated.start();
  BOOST_CHECK(status.code() == Code::kCorruption);
  BOOST_TEST(status.message().find("app-counts-changelog-0") != std::string::npos);
}

// F13: three records are committed, five were written, and the broker has the last one only.
BOOST_AUTO_TEST_CASE(
    input_that_was_deleted_before_it_was_processed_is_passed_over_only_if_allowed) {
  Counted task;
  for (const char* key : {"lost", "a"}) task.append("words", key, "x");
  task.log.delete_before({"words", 0}, 4);
  task.crash(true);
  const auto refused = task.start();
  BOOST_CHECK(refused.code() == Code::kInvalidArgument);
  BOOST_TEST(refused.message().starts_with(
                 "input words-0 begins at offset 4, but the last commit is at 3: "),
             refused.message());

  task.restore_settings.skip_lost_records = true;
  task.restart();
  BOOST_REQUIRE(task.begun.lost.size() == 1U);
  BOOST_TEST(task.begun.lost[0].from == 3);
  BOOST_TEST(task.begun.lost[0].to == 4);
  task.step();
  BOOST_TEST(task.count("a") == 3);
  BOOST_TEST(task.count("b") == 1);
  BOOST_TEST(task.count("lost") == 0);
  task.restart(false);
  BOOST_TEST(task.begun.lost.empty());
  BOOST_TEST(task.count("a") == 3);
}

// F12: a topic that has lost its end, whatever is allowed.
BOOST_AUTO_TEST_CASE(input_that_ends_before_the_last_commit_is_never_passed_over) {
  Counted task;
  task.log.truncate({"words", 0}, 2);
  task.crash(true);
  task.restore_settings.skip_lost_records = true;
  const auto status = task.start();
  BOOST_CHECK(status.code() == Code::kUnavailable);
  BOOST_TEST(
      status.message().starts_with("input words-0 ends at offset 2, but the last commit is at 3: "),
      status.message());
}

// B8
BOOST_AUTO_TEST_CASE(an_engine_that_is_behind_and_old_has_missed_deletions) {
  for (const bool behind : {true, false}) {
    Counted task;
    BOOST_REQUIRE(task.task->checkpoint().ok());
    if (behind) {
      task.append("words", "a", "x");
      task.step();
    }
    task.crash(true);
    task.clock.advance(std::chrono::hours{13});
    BOOST_REQUIRE(task.start().ok());
    BOOST_TEST(task.begun.stores[0].rebuilt.empty() == !behind);
    BOOST_TEST(task.count("a") == (behind ? 3 : 2));
  }
}

// B13: metadata of another cluster, or of another offset, is no commit point.
BOOST_AUTO_TEST_CASE(a_failed_checkpoint_loses_nothing) {  // KS-14
  Counted task;
  task.disk->probe->fail_apply = Status::unavailable("disk full");
  BOOST_CHECK(task.task->checkpoint().code() == Code::kUnavailable);
  BOOST_TEST(task.count("a") == 2);
  task.disk->probe->fail_apply.reset();
  BOOST_TEST(task.task->checkpoint().ok());
  BOOST_TEST((held(*task.disk->content(), 0).at("a") == i64(2)));
}

// KS-14
BOOST_AUTO_TEST_CASE(a_store_that_fails_in_a_batch_fails_the_task_even_under_the_skip_policy) {
  Counted task;
  BOOST_REQUIRE(task.task->checkpoint().ok());
  task.crash(true);
  task.settings.errors.on_error = ErrorPolicy::kSkip;
  BOOST_REQUIRE(task.start().ok());
  task.append("words", "a", "x");
  task.disk->probe->fail_reads = Status::unavailable("disk gone");
  Result<std::size_t> done = std::size_t{0};
  try {
    done = task.process(10);
  } catch (const std::exception& e) {
    BOOST_ERROR(std::string{"an exception left Task::process: "} + e.what());
    return;
  }
  BOOST_CHECK(!done && done.error().code() == Code::kUnavailable);
  BOOST_TEST(done.error().message().find("disk gone") != std::string::npos);
  BOOST_TEST(task.source() == 3);
  task.disk->probe->fail_reads.reset();
  task.restart();
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_TEST(task.count("a") == 3);
}

// KF-14
BOOST_AUTO_TEST_CASE(merged_sources_of_4_and_8_partitions_make_8_tasks) {
  class Merge final : public Processor<std::string, std::string, std::string, std::string> {
   public:
    void process(const Record<std::string, std::string>& record, Context& context) override {
      auto store = context.store<std::string, std::int64_t>("merged");
      store.put(record.key(), store.get(record.key()).value_or(0) + 1);
    }
  };
  Topology topology;
  topology.store<std::string, std::int64_t>("merged");
  topology.stream(Topic<std::string, std::string>{"four"}).process<Merge>(connects("merged"));
  topology.stream(Topic<std::string, std::string>{"eight"}).process<Merge>(connects("merged"));
  const auto graph = topology.graph();
  graph->freeze();
  BOOST_REQUIRE(graph->subtopologies().size() == 1U);
  const auto& part = graph->subtopologies()[0];
  BOOST_TEST((part.source_topics == std::vector<std::string>{"eight", "four"}));
  BOOST_TEST(driver_topic(part, {8, 4}) == "eight");
  BOOST_TEST(driver_topic(part, {4, 8}) == "four");
  BOOST_TEST(driver_topic(part, {4, 4}) == "eight");
  BOOST_TEST(plan_task(graph, {0, 3}, {8, 4}, "app").inputs.size() == 2U);
  BOOST_TEST(plan_task(graph, {0, 4}, {8, 4}, "app").inputs.size() == 1U);

  TaskHarness task{topology, {0, 7}, {{"four", 4}, {"eight", 8}}};
  BOOST_TEST(task.log.partitions("app-merged-changelog") == 8);
  BOOST_REQUIRE(task.start().ok());
  task.append("eight", "a", "x");
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(task.log.partition({"app-merged-changelog", 7}).size() == 1U);
}

// KS-14: what is written while a transaction is being committed must not be committed with it.
BOOST_AUTO_TEST_CASE(outputs_of_the_next_epoch_wait_for_the_next_transaction) {
  const Topic<std::string, std::string> echoes{"echoes"};
  Topology topology;
  topology.stream(words).to(echoes);
  TaskHarness task{topology};
  task.settings.transactional = true;
  BOOST_REQUIRE(task.start().ok());
  const auto written = [&] {
    std::size_t count = 0;
    for (const auto& record : task.log.partition({"echoes", 0})) count += record.visible() ? 1 : 0;
    return count;
  };
  task.append("words", "a", "first");
  BOOST_REQUIRE(task.process(10).has_value());
  auto prepared = task.task->prepare();
  BOOST_REQUIRE(prepared.has_value());
  task.append("words", "a", "second");
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_TEST(task.task->held_back_bytes() > 0U);
  auto point = task.commit_offsets(*prepared);
  BOOST_REQUIRE(point.has_value());
  BOOST_TEST(written() == 1U);
  BOOST_TEST(task.source() == 1);
  BOOST_REQUIRE(task.learn(*point).ok());
  BOOST_TEST(task.task->held_back_bytes() == 0U);
  BOOST_TEST(written() == 1U);  // Sent, and not committed.
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(written() == 2U);
}

// durability.md, "Modes": one offset after a transaction is its own marker, two are not.
BOOST_AUTO_TEST_CASE(a_transactions_marker_is_no_foreign_record) {
  TaskHarness task{counting()};
  task.settings.transactional = true;
  BOOST_REQUIRE(task.start().ok());
  for (int i = 0; i < 2; ++i) {
    task.append("words", "a", "x");
    BOOST_REQUIRE(task.process(10).has_value());
    BOOST_TEST(task.commit().ok());
  }
  BOOST_TEST(task.committed_end() == 3);  // A record, a marker, a record.
  task.log.append(task.changelog(), {"foreign", i64(7), {}, {}});
  task.append("words", "a", "x");
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_TEST((task.commit().code() == Code::kUnavailable));
  task.crash(true);
  BOOST_REQUIRE(task.start().ok());
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(task.live() == (Contents{{"a", i64(3)}}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
