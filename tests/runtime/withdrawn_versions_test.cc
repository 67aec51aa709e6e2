// SPDX-License-Identifier: Apache-2.0
//
// Versions that a crash has left in a changelog, which no commit covers:
// reference/durability.md, B12.
#include <boost/test/unit_test.hpp>

#include "runtime/withdrawn_version.h"
#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using namespace std::chrono_literals;

const Topic<std::string, std::string> words{"words"};

// Each version is the one before it and a letter more.
class Spelling final : public Processor<std::string, std::string, std::string, std::string> {
 public:
  void process(const Record<std::string, std::string>& record, Context& context) override {
    auto store = context.versioned_store<std::string, std::string>("words");
    const auto before = store.get_as_of(record.key(), record.timestamp());
    store.put(record.key(), (before ? before->value : "") + record.value(), record.timestamp());
  }
};

Topology spelling() {
  Topology topology;
  topology.versioned_store<std::string, std::string>("words", {.history_retention = 24h});
  topology.stream(words).process<Spelling>(connects("words"));
  return topology;
}

// A task that has committed "m" at 10 s, and dies in the commit of "i" at 20 s and "l" at 30 s: all
// three versions are in the changelog.
struct Crashed : TaskHarness {
  Crashed() : TaskHarness(spelling()) {
    clock.advance(1h);
    BOOST_REQUIRE(start().ok());
    append("words", "k", "m", at(10));
    BOOST_REQUIRE(process(10).has_value());
    BOOST_REQUIRE(commit().ok());
    append("words", "k", "i", at(20));
    append("words", "k", "l", at(30));
    BOOST_REQUIRE(process(10).has_value());
    BOOST_REQUIRE(task->prepare().has_value());
    BOOST_REQUIRE(changelog_log().size() == 3U);
    crash(false);
  }
  static Timestamp at(std::int64_t seconds) { return from_millis(seconds * 1000); }
  std::string as_of(std::int64_t seconds) {
    const VersionedStore<std::string, std::string> store{*task->find_store("words")};
    const auto found = store.get_as_of("k", at(seconds));
    return found ? found->value : "";
  }
};

BOOST_AUTO_TEST_SUITE(withdrawn_versions)

// Found as it stands, the later one would be the end of what the earlier ones add to.
BOOST_AUTO_TEST_CASE(versions_of_a_crashed_commit_do_not_answer_for_what_is_processed_again) {
  for (const bool crashes_again : {false, true}) {
    BOOST_TEST_CONTEXT("crashes after the healing too: " << crashes_again) {
      Crashed task;
      BOOST_REQUIRE(task.start().ok());
      BOOST_TEST(task.as_of(40) == "m");
      if (crashes_again) {
        task.crash(false);
        BOOST_REQUIRE(task.start().ok());
        BOOST_TEST(task.as_of(40) == "m");
      }
      BOOST_REQUIRE(task.process(10).has_value());
      BOOST_TEST(task.as_of(25) == "mi");
      BOOST_TEST(task.as_of(35) == "mil");
      BOOST_REQUIRE(task.commit().ok());
      task.crash(false);
      BOOST_REQUIRE(task.start().ok());
      BOOST_TEST(task.as_of(15) == "m");
      BOOST_TEST(task.as_of(25) == "mi");
      BOOST_TEST(task.as_of(35) == "mil");
    }
  }
}

// Kafka Streams, which does not know the header, finds the value in effect at all times.
BOOST_AUTO_TEST_CASE(they_are_withdrawn_by_the_value_that_was_in_effect_before_them) {
  Crashed task;
  BOOST_REQUIRE(task.start().ok());
  const auto& log = task.changelog_log();
  BOOST_REQUIRE(log.size() == 6U);
  for (std::size_t i = 3; i < 6; ++i) BOOST_TEST((log[i].value == "m"));
  BOOST_TEST((log[3].timestamp == Crashed::at(20)));
  BOOST_TEST((log[4].timestamp == Crashed::at(30)));
  BOOST_TEST((log[3].headers == Headers{{kWithdrawnHeader, std::nullopt}}));
  BOOST_TEST((log[4].headers == log[3].headers));
  BOOST_TEST((log[5].timestamp == Crashed::at(10)));
  BOOST_TEST(log[5].headers.empty());
}

// Which keeps the last record of a key: no withdrawal, of which nothing would be left.
BOOST_AUTO_TEST_CASE(compaction_keeps_the_newest_version_behind_them) {
  Crashed task;
  BOOST_REQUIRE(task.start().ok());
  task.log.append(task.changelog(), {"of another segment", std::nullopt, {}, {}});
  task.clock.advance(24h * 10);
  task.log.clean(task.changelog(), {task.clock.now(), 48h, 24h, 1});
  task.crash(false);
  BOOST_REQUIRE(task.start().ok());
  BOOST_TEST(task.as_of(40) == "m");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
