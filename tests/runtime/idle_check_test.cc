// SPDX-License-Identifier: Apache-2.0
//
// What others leave in a task's changelog, or do to its commit point, while it writes nothing:
// durability, B3 and B6 (a).
#include <boost/test/unit_test.hpp>

#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;

const Topic<std::string, std::string> words{"words"};

Topology counting() {
  Topology topology;
  topology.stream(words).group_by_key().count("counts");
  return topology;
}

// A task that has counted `a` and `b` once, committed, and has nothing to do.
struct Idle : TaskHarness {
  explicit Idle(bool transactional = false) : TaskHarness(counting()) {
    settings.transactional = transactional;
    BOOST_REQUIRE(start().ok());
    append("words", "a", "x");
    append("words", "b", "x");
    BOOST_REQUIRE(process(10).has_value());
    BOOST_REQUIRE(commit().ok());
  }
  Status look(bool last = false) {
    const auto end = log.ends_now(changelog());
    return task->check_logs(std::vector<std::int64_t>{end->end}, last);
  }
  void foreign(const std::string& key, std::int64_t count) {
    log.append(changelog(), {key, i64(count), {}, {}});
  }
};

BOOST_AUTO_TEST_SUITE(idle_check)

BOOST_AUTO_TEST_CASE(an_idle_task_finds_what_a_zombie_left_and_its_next_start_heals_it) {
  for (const bool transactional : {false, true}) {
    Idle task{transactional};
    BOOST_TEST(task.look().ok());
    task.foreign("a", 99);
    const auto status = task.look();
    BOOST_CHECK(status.code() == Code::kUnavailable);
    BOOST_TEST(status.message().find("another writer") != std::string::npos, status.message());
    task.crash(true);
    BOOST_REQUIRE(task.start().ok());
    BOOST_TEST(task.look().ok());
    const auto end = static_cast<std::int64_t>(task.changelog_log().size());
    BOOST_TEST((folded(task.changelog_log(), end) == Contents{{"a", i64(1)}, {"b", i64(1)}}));
  }
}

BOOST_AUTO_TEST_CASE(what_the_task_itself_has_on_its_way_is_nobody_elses) {
  for (const bool transactional : {false, true}) {
    Idle task{transactional};
    task.append("words", "a", "x");
    BOOST_REQUIRE(task.process(10).has_value());
    BOOST_TEST(task.look().ok());
    const auto prepared = task.task->prepare();
    BOOST_REQUIRE(prepared.has_value());
    BOOST_TEST(task.look().ok());
    const auto point = task.commit_offsets(*prepared);
    BOOST_REQUIRE(point.has_value());
    BOOST_TEST(task.look().ok());
    BOOST_REQUIRE(task.learn(*point).ok());
    BOOST_TEST(task.look().ok());
  }
}

// A look's answer may come after a later commit.
BOOST_AUTO_TEST_CASE(an_end_that_was_read_before_a_commit_is_no_truncation) {
  Idle task;
  const auto before = task.log.ends_now(task.changelog())->end;
  task.append("words", "a", "x");
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(task.task->check_logs(std::vector<std::int64_t>{before}, false).ok());
}

// B18
BOOST_AUTO_TEST_CASE(a_changelog_that_became_shorter_is_said) {
  Idle task;
  BOOST_REQUIRE(task.look().ok());
  task.log.truncate(task.changelog(), 1);
  const auto status = task.look();
  BOOST_CHECK(status.code() == Code::kCorruption);
  BOOST_TEST(status.message().find("app-counts-changelog-0") != std::string::npos);
}

// B3: an early copy of a commit that was thought lost comes after a later one.
BOOST_AUTO_TEST_CASE(a_commit_point_that_went_back_is_mended_by_the_next_look) {
  Idle task;
  const auto newest = task.history.back();
  BOOST_REQUIRE(task.look().ok());
  BOOST_REQUIRE(task.commit().ok());  // The first look may have asked for one.
  task.log.commit(task.history.front());
  BOOST_TEST(task.source() == 0);
  BOOST_REQUIRE(task.look().ok());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(task.source() == newest.front().offset);
  BOOST_TEST(task.committed_end() == 2);
}

BOOST_AUTO_TEST_CASE(a_task_that_commits_anyway_commits_no_more_for_a_look) {
  Idle task;
  BOOST_REQUIRE(task.look().ok());
  BOOST_REQUIRE(task.commit().ok());
  const auto commits = task.history.size();
  task.append("words", "a", "x");
  BOOST_REQUIRE(task.process(10).has_value());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_REQUIRE(task.look().ok());
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(task.history.size() == commits + 1);
  BOOST_REQUIRE(task.look(true).ok());  // But before the end.
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(task.history.size() == commits + 2);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
