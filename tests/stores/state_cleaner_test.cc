// SPDX-License-Identifier: Apache-2.0
#include "stores/state_cleaner.h"

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "millrace/engine.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

struct Fixture {
  TemporaryDirectory temporary;
  StateDirectory directory = must(StateDirectory::open(temporary.path(), "bank"));
  ManualClock clock;
  StateCleaner cleaner{minutes{10}, clock};

  void make(const std::string& task) {
    std::ofstream{must(directory.task_directory(task, "rocksdb")) / "data"} << "x";
  }
  // The tasks that were removed.
  std::vector<std::string> look(const std::set<std::string>& owned) {
    std::vector<std::string> ids;
    for (const auto& removal : must(cleaner.look(directory, owned))) {
      BOOST_TEST(std::filesystem::exists(removal.set_aside));
      BOOST_TEST(removal.unused_for.count() >= 600'000);
      ids.push_back(removal.task_id);
    }
    return ids;
  }
  std::vector<std::string> left() { return must(directory.tasks()); }
};

using Ids = std::vector<std::string>;

BOOST_AUTO_TEST_SUITE(state_cleaner)

BOOST_FIXTURE_TEST_CASE(state_is_removed_once_nobody_has_owned_it_for_the_delay, Fixture) {
  for (const char* task : {"0_0", "0_1", "0_2"}) make(task);
  BOOST_TEST((look({"0_0"}) == Ids{}));
  clock.advance(minutes{9});
  BOOST_TEST((look({"0_0"}) == Ids{}));
  BOOST_TEST((look({"0_0", "0_1"}) == Ids{}));  // It came back for a moment: the time begins anew.
  clock.advance(minutes{1});
  BOOST_TEST((look({"0_0"}) == Ids{"0_2"}));
  BOOST_TEST((left() == Ids{"0_0", "0_1"}));
  clock.advance(minutes{9});
  BOOST_TEST((look({"0_0"}) == Ids{}));
  clock.advance(minutes{1});
  BOOST_TEST((look({"0_0"}) == Ids{"0_1"}));
  BOOST_TEST((left() == Ids{"0_0"}));
  clock.advance(minutes{60});
  BOOST_TEST((look({"0_0"}) == Ids{}));
}

BOOST_FIXTURE_TEST_CASE(state_whose_engine_somebody_has_locked_is_left_alone, Fixture) {
  auto engine =
      must(engines::rocksdb()->open({must(directory.task_directory("0_5", "rocksdb")), {"store"}}));
  auto other =
      must(engines::lmdb()->open({must(directory.task_directory("0_6", "lmdb")), {"store"}}));
  static_cast<void>(look({}));
  clock.advance(minutes{11});
  BOOST_TEST((look({}) == Ids{}));
  BOOST_TEST(engine->close().ok());
  BOOST_TEST(other->close().ok());
  BOOST_TEST((look({}) == Ids{"0_5", "0_6"}));
}

// Nothing but directories of tasks is touched, and what a crash left half removed goes at the next
// start.
BOOST_FIXTURE_TEST_CASE(only_tasks_are_removed_and_a_second_removal_does_not_meet_the_first,
                        Fixture) {
  std::ofstream{directory.path() / "notes.txt"} << "mine";
  make("0_1");
  static_cast<void>(look({}));
  clock.advance(minutes{10});
  BOOST_TEST((look({}) == Ids{"0_1"}));
  make("0_1");  // It came and went again; the files of the first are still being deleted.
  static_cast<void>(look({}));
  clock.advance(minutes{10});
  BOOST_TEST((look({}) == Ids{"0_1"}));
  BOOST_TEST(std::filesystem::exists(directory.path() / "notes.txt"));
  BOOST_TEST(std::filesystem::exists(directory.path() / "discarded.0_1.1"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
