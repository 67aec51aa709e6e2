// SPDX-License-Identifier: Apache-2.0
//
// Stores whose changelog is another one than in the last commit, and stores that were taken out
// and come back (reference/durability.md, B22).
#include <boost/test/unit_test.hpp>

#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;

const Topic<std::string, std::string> words{"words"};

using Stores = std::vector<StoreOptions>;

Topology counting(const Stores& stores) {
  Topology topology;
  auto stream = topology.stream(words);
  for (const auto& store : stores) stream.group_by_key().count(store);
  return topology;
}

StoreOptions logged(const std::string& name, const std::string& topic) {
  return StoreOptions{name}.changelog({.topic = topic});
}

// Several versions of a program, one after the other over the same topics and disk.
struct Program : TaskHarness {
  explicit Program(const Stores& stores) : TaskHarness(counting(stores)) {
    BOOST_REQUIRE(start().ok());
  }
  void count(const std::string& key) {
    append("words", key, "x");
    BOOST_REQUIRE(process(100).has_value());
    const auto status = commit();
    BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  }
  // Stores find their content by name: here each program has the disk to itself unless kept.
  Status become(const Stores& stores, bool keep_disk) {
    crash(keep_disk);
    graph = counting(stores).graph();
    graph->freeze();
    plan = plan_task(graph, {0, 0}, {1}, "app");
    for (const auto& store : plan.stores) {
      if (store.has_changelog()) log.create_topic(store.changelog.topic, 1);
    }
    return start();
  }
};

void expect_refused(const Status& status, const std::string& named) {
  BOOST_CHECK(status.code() == Code::kInvalidArgument);
  BOOST_TEST(status.message().find("its state is in another one") != std::string::npos,
             status.message());
  BOOST_TEST(status.message().find(named) != std::string::npos, status.message());
}

BOOST_AUTO_TEST_SUITE(changed_changelog)

// KF-22
BOOST_AUTO_TEST_CASE(another_changelog_topic_for_a_store_with_state_is_refused) {
  for (const bool keep_disk : {true, false}) {
    Program program{{"counts"}};
    program.count("a");
    BOOST_REQUIRE(program.task->checkpoint().ok());
    expect_refused(program.become({logged("counts", "log")}, keep_disk), "log-0");
    expect_refused(program.become({logged("counts", "other")}, keep_disk), "other-0");
    BOOST_REQUIRE(program.become({"counts"}, keep_disk).ok());  // What the error says to do.
    BOOST_TEST((program.live() == Contents{{"a", i64(1)}}));
    BOOST_REQUIRE(program.become({logged("counts2", "log")}, false).ok());
    BOOST_TEST(program.live().empty());
  }
  Program named{{logged("counts", "log")}};
  named.count("a");
  expect_refused(named.become({"counts"}, false), "app-counts-changelog-0");
}

BOOST_AUTO_TEST_CASE(a_store_without_state_may_have_another_changelog_topic) {
  Program program{{"counts"}};
  BOOST_REQUIRE(program.become({logged("counts", "log")}, true).ok());
  program.count("a");
  BOOST_REQUIRE(program.become({logged("counts", "log")}, false).ok());
  BOOST_TEST((program.live() == Contents{{"a", i64(1)}}));
}

BOOST_AUTO_TEST_CASE(a_new_store_beside_one_that_was_taken_out_begins_empty) {
  Program program{{"counts"}};
  program.count("a");
  BOOST_REQUIRE(program.become({"visits"}, false).ok());
  program.count("a");
  BOOST_REQUIRE(program.become({"visits", "more"}, false).ok());
  BOOST_TEST((program.live(0) == Contents{{"a", i64(1)}}));
  BOOST_TEST(program.live(1).empty());
}

// B22
BOOST_AUTO_TEST_CASE(a_store_that_was_taken_out_comes_back_as_its_last_commit_left_it) {
  for (const bool keep_disk : {true, false}) {
    Program program{{"counts", "kept"}};
    program.count("a");
    program.count("a");
    BOOST_REQUIRE(program.task->checkpoint().ok());
    BOOST_REQUIRE(program.become({"kept"}, false).ok());
    for (int restart = 0; restart < 2; ++restart) {
      program.count("a");
      program.count("b");
      BOOST_REQUIRE(program.become({"kept"}, false).ok());
    }
    // Of a crash, or of a process that had lost the partition: no commit covers it.
    program.log.append({"app-counts-changelog", 0}, {"a", i64(77), {}, {}});
    BOOST_REQUIRE(program.become({"counts", "kept"}, false).ok());
    BOOST_TEST(program.begun.stores[0].missed_commits);
    BOOST_TEST(!program.begun.stores[1].missed_commits);
    BOOST_TEST((program.live(0) == Contents{{"a", i64(2)}}));
    BOOST_TEST((program.live(1) == Contents{{"a", i64(4)}, {"b", i64(2)}}));
    BOOST_TEST((folded(program.changelog_log(0), program.committed_end(0)) == program.live(0)));
    program.count("a");
    BOOST_REQUIRE(program.become({"counts", "kept"}, keep_disk).ok());
    BOOST_TEST(!program.begun.stores[0].missed_commits);
    BOOST_TEST((program.live(0) == Contents{{"a", i64(3)}}));
    BOOST_TEST(program.durable()->carried.empty());
  }
}

// As the error for a store without a carried end advises.
BOOST_AUTO_TEST_CASE(a_store_that_comes_back_after_its_changelog_was_deleted_begins_empty) {
  Program program{{"counts", "kept"}};
  program.count("a");
  BOOST_REQUIRE(program.become({"kept"}, false).ok());
  program.count("a");
  program.log.truncate({"app-counts-changelog", 0}, 0);
  const auto status = program.become({"counts", "kept"}, false);
  BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  BOOST_TEST(program.live(0).empty());
  program.count("a");
  BOOST_REQUIRE(program.become({"counts", "kept"}, false).ok());
  BOOST_TEST((program.live(0) == Contents{{"a", i64(1)}}));
}

// Two inputs with a store each, which a third store makes one task, or does not.
struct Inputs : TaskHarness {
  static Topology topology(bool left, bool right, bool together, bool counting_left = true) {
    const Topic<std::string, std::string> words_left{"left"};
    const Topic<std::string, std::string> words_right{"right"};
    Topology topology;
    if (together) topology.store<std::string, std::int64_t>("both");
    const auto input = [&](const auto& topic, const std::string& store) {
      auto stream = topology.stream(topic);
      if (counting_left || store != "left-counts") stream.group_by_key().count(store);
      if (together) stream.template process<Connecting>(connects("both"));
    };
    if (left) input(words_left, "left-counts");
    if (right) input(words_right, "right-counts");
    return topology;
  }
  class Connecting final : public Processor<std::string, std::string, std::string, std::string> {
   public:
    void process(const Record<std::string, std::string>&, Context&) override {}
  };
  Inputs() : TaskHarness(topology(true, true, true)) {}
  Status become(bool left, bool right, bool together, bool counting_left = true) {
    crash(false);
    graph = topology(left, right, together, counting_left).graph();
    graph->freeze();
    plan = plan_task(graph, {0, 0}, std::vector<std::int32_t>(left && right ? 2 : 1, 1), "app");
    for (const auto& store : plan.stores) log.create_topic(store.changelog.topic, 1);
    return start();
  }
  void count(const std::string& topic) {
    append(topic, "a", "x");
    BOOST_REQUIRE(process(100).has_value());
    const auto status = commit();
    BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  }
  // As two tasks, one after the other: one record on the left, two on the right.
  void count_apart() {
    BOOST_REQUIRE(become(true, false, false).ok());
    count("left");
    BOOST_REQUIRE(become(false, true, false).ok());
    count("right");
    count("right");
  }
  Contents of(const std::string& store) { return shown(*task->find_store(store)); }
};

// One task becomes two, which go on by themselves, and one again.
BOOST_AUTO_TEST_CASE(a_store_that_another_task_went_on_with_comes_back_as_that_has_left_it) {
  Inputs task;
  BOOST_REQUIRE(task.start().ok());
  task.count("left");
  task.count("right");
  for (int i = 0; i < 3; ++i) task.count_apart();
  const auto status = task.become(true, true, true);
  BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  for (const auto& store : task.begun.stores) BOOST_TEST(!store.missed_commits);
  BOOST_TEST((task.of("left-counts") == Contents{{"a", i64(4)}}));
  BOOST_TEST((task.of("right-counts") == Contents{{"a", i64(7)}}));
}

BOOST_AUTO_TEST_CASE(two_tasks_that_become_one_bring_their_stores_along) {
  Inputs task;
  task.count_apart();
  const auto status = task.become(true, true, true);
  BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  BOOST_TEST((task.of("left-counts") == Contents{{"a", i64(1)}}));
  BOOST_TEST((task.of("right-counts") == Contents{{"a", i64(2)}}));
}

// The input that was taken out still has the commit point of its time.
BOOST_AUTO_TEST_CASE(a_store_goes_on_behind_a_commit_point_that_its_task_has_left_behind) {
  Inputs task;
  BOOST_REQUIRE(task.start().ok());
  task.count("left");
  task.count("right");
  BOOST_REQUIRE(task.become(true, false, true).ok());
  task.count("left");
  BOOST_REQUIRE(task.become(true, true, true).ok());
  BOOST_TEST((task.of("left-counts") == Contents{{"a", i64(2)}}));
  BOOST_TEST((task.of("right-counts") == Contents{{"a", i64(1)}}));
  // It knows less of a store than what was carried on from a later time.
  BOOST_REQUIRE(task.become(true, false, true).ok());
  task.count("left");
  BOOST_REQUIRE(task.become(true, false, true, false).ok());
  task.count("left");
  BOOST_REQUIRE(task.become(true, true, true).ok());
  BOOST_TEST((task.of("left-counts") == Contents{{"a", i64(3)}}));
}

BOOST_AUTO_TEST_CASE(a_store_that_comes_back_with_another_changelog_is_refused) {
  Program program{{"counts", "kept"}};
  program.count("a");
  BOOST_REQUIRE(program.become({"kept"}, false).ok());
  program.count("a");
  expect_refused(program.become({logged("counts", "log"), "kept"}, false), "log-0");
}

// The engine's position of a store counts for the changelog it had, not for what is called so now.
BOOST_AUTO_TEST_CASE(two_stores_that_exchange_their_changelogs_are_rebuilt_from_them) {
  Program program{{logged("one", "x"), logged("two", "y")}};
  program.count("a");
  BOOST_REQUIRE(program.task->checkpoint().ok());
  program.count("b");
  BOOST_REQUIRE(program.become({logged("one", "y"), logged("two", "x")}, true).ok());
  for (const auto& store : program.begun.stores) {
    BOOST_TEST(store.rebuilt.find("with this changelog") != std::string::npos);
    BOOST_TEST(store.records == 2U);
  }
}

BOOST_AUTO_TEST_CASE(of_many_stores_taken_out_the_latest_are_remembered) {
  Stores many;
  for (int i = 0; i < 20; ++i) many.push_back("many" + std::to_string(i));
  many.push_back("kept");
  many.push_back("last");
  Program program{many};
  program.count("a");
  BOOST_REQUIRE(program.become({"kept", "last"}, false).ok());
  program.count("a");
  BOOST_TEST(program.durable()->carried.size() == kCarriedEndsMax);
  BOOST_REQUIRE(program.become({"kept"}, false).ok());
  program.count("a");
  BOOST_TEST(program.durable()->carried.size() == kCarriedEndsMax);
  BOOST_TEST(program.durable()->carried.front().store == store_hash("last"));
}

BOOST_AUTO_TEST_CASE(what_is_carried_leaves_the_room_to_the_stores_that_are_there) {
  CommitPoint point;
  point.sources = {{"words", 1}};
  for (int i = 0; i < 145; ++i) point.changelog_ends["store-" + std::to_string(i)] = 1;
  point.carried.resize(3, {1, 2, 3});
  const auto full = encode_metadata(point, "words");
  BOOST_REQUIRE(full.has_value());
  BOOST_TEST(decode_metadata(*full)->carried.size() == 3U);
  point.carried.resize(kCarriedEndsMax, {1, 2, 3});
  const auto without = encode_metadata(point, "words");
  BOOST_REQUIRE(without.has_value());
  BOOST_TEST(decode_metadata(*without)->carried.empty());
  BOOST_TEST(decode_metadata(*without)->changelog_ends.size() == 145U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
