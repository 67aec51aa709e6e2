// SPDX-License-Identifier: Apache-2.0
#include "actors/watchdog.h"

#include <boost/test/unit_test.hpp>

namespace {

using namespace millrace;
using namespace std::chrono_literals;

struct Watch {
  std::string lines;
  Log log{{LogLevel::kInfo, [this](LogLevel, std::string_view line) { lines += line; }}, "app"};
  metrics::Registry registry;
  Watchdog dog{log, registry, 60s};
  std::shared_ptr<RecordInHand> hand = std::make_shared<RecordInHand>();
  std::chrono::nanoseconds now{};

  Watch() { dog.watch({0, 2}, {{"orders", 2}, {"users", 2}}, hand); }
  void look_after(std::chrono::seconds time) {
    now += time;
    dog.look(now);
  }
  bool says(const std::string& text) const { return lines.find(text) != std::string::npos; }
  bool counts(int tasks) const {
    return registry.text().find("millrace_tasks_hanging " + std::to_string(tasks)) !=
           std::string::npos;
  }
};

BOOST_AUTO_TEST_SUITE(watchdog)

// F19
BOOST_AUTO_TEST_CASE(a_record_that_is_in_hand_for_too_long_is_named_once) {
  Watch watch;
  watch.hand->take(1, 17);
  watch.look_after(3s);
  watch.look_after(59s);
  BOOST_TEST(watch.dog.hanging() == "");
  for (int i = 0; i < 3; ++i) watch.look_after(3s);
  BOOST_TEST(watch.dog.hanging() == "task 0_2 hangs in record users-2@17\n");
  BOOST_TEST(watch.says("task 0_2 hangs: it has been processing record users-2@17 for 62 s"),
             watch.lines);
  BOOST_TEST(watch.lines.find("hangs:") == watch.lines.rfind("hangs:"));
  BOOST_TEST(watch.counts(1));
  watch.hand->put_down();
  watch.look_after(3s);
  BOOST_TEST(watch.dog.hanging() == "");
  BOOST_TEST(watch.says("goes on: it was done with record users-2@17"), watch.lines);
  BOOST_TEST(watch.counts(0));
}

BOOST_AUTO_TEST_CASE(a_task_that_moves_on_or_rests_does_not_hang) {
  Watch watch;
  for (int i = 0; i < 100; ++i) {
    watch.hand->take(0, i);
    watch.look_after(40s);
  }
  watch.hand->put_down();
  for (int i = 0; i < 100; ++i) watch.look_after(40s);
  BOOST_TEST(watch.lines == "");
}

BOOST_AUTO_TEST_CASE(a_record_that_is_tried_again_and_again_does_not_hang) {
  Watch watch;
  for (int i = 0; i < 100; ++i) {
    watch.hand->take(0, 7);
    watch.look_after(40s);
    watch.hand->put_down();
  }
  BOOST_TEST(watch.lines == "");
}

BOOST_AUTO_TEST_CASE(the_changes_of_tables_are_named_too) {
  Watch watch;
  watch.hand->take(0, RecordInHand::kTables);
  watch.look_after(3s);
  watch.look_after(60s);
  BOOST_TEST(watch.says("what has changed in its tables"), watch.lines);
}

BOOST_AUTO_TEST_CASE(a_task_that_is_gone_is_watched_no_more) {
  Watch watch;
  watch.hand->take(0, 1);
  watch.look_after(3s);
  watch.look_after(60s);
  BOOST_TEST(watch.counts(1));
  watch.hand.reset();
  watch.look_after(3s);
  BOOST_TEST(watch.counts(0));
  BOOST_TEST(watch.dog.hanging() == "");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
