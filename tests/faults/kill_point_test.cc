// SPDX-License-Identifier: Apache-2.0
//
// Kill points are in the worker of the fault tests and nowhere else.
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <iterator>
#include <string>

namespace millrace::testing {
namespace {

bool has_kill_points(const char* file) {
  std::ifstream stream{file, std::ios::binary};
  const std::string bytes{std::istreambuf_iterator<char>{stream}, {}};
  BOOST_TEST_REQUIRE(!bytes.empty());
  return bytes.find("before_offsets") != std::string::npos;
}

BOOST_AUTO_TEST_CASE(the_library_has_no_kill_points_and_the_worker_has) {
  BOOST_TEST(!has_kill_points(MILLRACE_LIBRARY));
  BOOST_TEST(has_kill_points(MILLRACE_WORKER));
}

}  // namespace
}  // namespace millrace::testing
