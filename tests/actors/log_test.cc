// SPDX-License-Identifier: Apache-2.0
#include "actors/log.h"

#include <boost/test/unit_test.hpp>
#include <stdexcept>

namespace millrace {
namespace {

BOOST_AUTO_TEST_SUITE(log)

BOOST_AUTO_TEST_CASE(a_sink_that_throws_ends_nobody_who_logs) {
  int lines = 0;
  LogOptions options;
  options.sink = [&](LogLevel, std::string_view) {
    ++lines;
    throw std::runtime_error("no room");
  };
  const Log log{options, "app"};
  BOOST_CHECK_NO_THROW(log.warn("a line of a_sink_that_throws_ends_nobody_who_logs"));
  BOOST_TEST(lines == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace
