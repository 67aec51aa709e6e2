// SPDX-License-Identifier: Apache-2.0
#include "runtime/restart_pause.h"

#include <boost/test/unit_test.hpp>
#include <set>

namespace {

using namespace millrace;

BOOST_AUTO_TEST_SUITE(restart_pauses)

BOOST_AUTO_TEST_CASE(pauses_double_up_to_their_maximum_and_differ_by_chance_within_a_half) {
  const Config config;  // 500 ms, 30 s.
  std::mt19937_64 random{7};
  for (std::size_t failures = 1; failures < 40; ++failures) {
    std::int64_t whole = 500;
    for (std::size_t i = 1; i < failures && whole < 30'000; ++i) whole *= 2;
    whole = std::min<std::int64_t>(whole, 30'000);
    std::set<std::int64_t> seen;
    for (int i = 0; i < 100; ++i) {
      const auto pause = restart_pause(config, failures, random).count();
      BOOST_TEST(pause >= whole / 2);
      BOOST_TEST(pause <= whole);
      seen.insert(pause);
    }
    BOOST_TEST(seen.size() > 20U);
  }
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_pauses) {
  const Config config;
  std::mt19937_64 one{42};
  std::mt19937_64 other{42};
  for (std::size_t i = 1; i < 20; ++i) {
    BOOST_TEST(restart_pause(config, i, one).count() == restart_pause(config, i, other).count());
  }
}

BOOST_AUTO_TEST_CASE(failures_of_a_task_without_input_are_in_a_row_only_if_they_come_soon) {
  const Config config;  // Pauses up to 30 s.
  using std::chrono::seconds;
  BOOST_TEST(failures_in_row(config, 0, false, seconds{0}) == 1U);
  BOOST_TEST(failures_in_row(config, 4, false, seconds{0}) == 5U);
  BOOST_TEST(failures_in_row(config, 4, false, seconds{299}) == 5U);
  BOOST_TEST(failures_in_row(config, 4, false, seconds{300}) == 1U);
  BOOST_TEST(failures_in_row(config, 4, true, seconds{0}) == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
