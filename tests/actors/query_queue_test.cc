// SPDX-License-Identifier: Apache-2.0
#include "actors/query_queue.h"

#include <boost/test/unit_test.hpp>

#include "runtime/task.h"

namespace {

using namespace millrace;
using std::chrono::milliseconds;

struct Reads {
  ManualClock clock;
  QueryQueue queue{clock};
  int answered = 0;
  int dropped = 0;

  void push(milliseconds takes) {
    queue.push(std::make_shared<Query>([this, takes](Task* task) {
      ++(task != nullptr ? answered : dropped);
      clock.advance(takes);
    }));
  }
  // Nobody looks into it.
  Task& task() { return *reinterpret_cast<Task*>(&room_); }

 private:
  std::max_align_t room_{};
};

BOOST_AUTO_TEST_SUITE(query_queue)

// KF-8: however many reads come, between two turns of processing they have a bounded time.
BOOST_AUTO_TEST_CASE(reads_get_a_bounded_time_before_processing_has_its_turn) {
  Reads reads;
  for (int i = 0; i < 100; ++i) reads.push(milliseconds{2});
  reads.queue.serve(reads.task());
  BOOST_TEST(reads.answered == 3);
  BOOST_TEST(reads.queue.turn_over());
  reads.queue.serve(reads.task());
  BOOST_TEST(reads.answered == 3);
  reads.queue.begin_turn();
  reads.queue.serve(reads.task());
  BOOST_TEST(reads.answered == 6);
  // One that takes long has its turn too.
  Reads slow;
  slow.push(milliseconds{100});
  slow.push(milliseconds{100});
  slow.queue.serve(slow.task());
  BOOST_TEST(slow.answered == 1);
  slow.queue.begin_turn();
  slow.queue.serve(slow.task());
  BOOST_TEST(slow.answered == 2);
  BOOST_TEST(slow.queue.empty());
}

BOOST_AUTO_TEST_CASE(reads_beyond_the_bound_and_those_of_a_task_that_ends_are_answered_not_ready) {
  Reads reads;
  for (std::size_t i = 0; i < QueryQueue::kWaitingMax + 5; ++i) reads.push(milliseconds{0});
  BOOST_TEST(reads.dropped == 5);
  reads.queue.clear();
  BOOST_TEST(reads.dropped == static_cast<int>(QueryQueue::kWaitingMax) + 5);
  BOOST_TEST(reads.answered == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
