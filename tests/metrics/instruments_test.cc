// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "millrace/metrics.h"

using namespace millrace::metrics;

BOOST_AUTO_TEST_SUITE(instruments)

BOOST_AUTO_TEST_CASE(counter_of_one_writer_counts_every_add_and_is_read_by_others) {
  constexpr std::uint64_t adds = 100'000;
  Counter counter;
  std::thread writer{[&counter] {
    for (std::uint64_t i = 0; i < adds; ++i) counter.add();
  }};
  std::uint64_t last = 0;
  bool ascending = true;
  while (last < adds) {
    const std::uint64_t seen = counter.value();
    ascending = ascending && seen >= last;
    last = seen;
  }
  writer.join();
  BOOST_TEST(ascending);
  BOOST_TEST(counter.value() == adds);
}

BOOST_AUTO_TEST_CASE(shared_adds_of_several_writers_are_all_counted) {
  Counter counter;
  std::vector<std::thread> writers;
  writers.reserve(4);
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&counter] {
      for (int i = 0; i < 20'000; ++i) counter.add_shared(2);
    });
  }
  for (auto& writer : writers) writer.join();
  BOOST_TEST(counter.value() == 160'000U);
}

BOOST_AUTO_TEST_CASE(followed_total_never_goes_back) {
  Counter counter;
  counter.raise_to(7);
  counter.raise_to(3);
  BOOST_TEST(counter.value() == 7U);
}

BOOST_AUTO_TEST_CASE(gauge_adds_of_several_writers_are_all_counted) {
  Gauge gauge;
  gauge.set(5);
  std::vector<std::thread> writers;
  writers.reserve(4);
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&gauge, delta = writer % 2 == 0 ? 3.0 : -1.0] {
      for (int i = 0; i < 10'000; ++i) gauge.add(delta);
    });
  }
  for (auto& writer : writers) writer.join();
  BOOST_TEST(gauge.value() == 40'005.0);
}

BOOST_AUTO_TEST_CASE(histogram_buckets_are_cumulative_and_include_their_bound) {
  Histogram histogram{{1, 2, 5}};
  for (const double value : {0.5, 1.0, 1.5, 2.0, 5.0, 6.0}) histogram.observe(value);
  const auto snapshot = histogram.snapshot();
  const std::vector<std::uint64_t> expected{2, 4, 5, 6};
  BOOST_TEST(snapshot.cumulative == expected, boost::test_tools::per_element());
  BOOST_TEST(snapshot.sum == 16.0);
}

BOOST_AUTO_TEST_CASE(histogram_ignores_nan_and_puts_infinities_at_the_ends) {
  Histogram histogram{{0}};
  histogram.observe(std::numeric_limits<double>::quiet_NaN());
  histogram.observe(std::numeric_limits<double>::infinity());
  histogram.observe(-1);
  const std::vector<std::uint64_t> expected{1, 2};
  BOOST_TEST(histogram.snapshot().cumulative == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(histogram_refuses_bounds_that_do_not_ascend) {
  BOOST_CHECK_THROW(Histogram{{}}, std::invalid_argument);
  BOOST_CHECK_THROW((Histogram{{2, 1}}), std::invalid_argument);
  BOOST_CHECK_THROW((Histogram{{1, 1}}), std::invalid_argument);
  BOOST_CHECK_THROW((Histogram{{1, std::numeric_limits<double>::infinity()}}),
                    std::invalid_argument);
  BOOST_CHECK_THROW((Histogram{{std::nan("")}}), std::invalid_argument);
  BOOST_CHECK_NO_THROW(Histogram{duration_bounds()});
}

BOOST_AUTO_TEST_CASE(duration_buckets_from_a_millisecond_to_ten_seconds_are_narrow) {
  const auto bounds = duration_bounds();
  BOOST_TEST(bounds.front() < 0.001);
  BOOST_TEST(bounds.back() == 10.0);
  for (std::size_t i = 1; i < bounds.size(); ++i) {
    if (bounds[i] > 0.001) BOOST_TEST(bounds[i] / bounds[i - 1] < 1.7, bounds[i]);
  }
}

BOOST_AUTO_TEST_SUITE_END()
