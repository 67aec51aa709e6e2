// SPDX-License-Identifier: Apache-2.0
//
// The state is exact whatever happens: what that means, and what happens, is in simulation.h.
#include <boost/test/unit_test.hpp>

#include "tests/runtime/simulation.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace::testing;

BOOST_AUTO_TEST_SUITE(simulator)

// KS-5, KS-7, KS-11, KS-21, KF-25, KF-29, KF-37
BOOST_AUTO_TEST_CASE(state_is_exact_whatever_crashes_and_whoever_writes) {
  const auto& all = simulated_shapes();
  for_seeds("simulator", 10'000, [&](std::uint64_t seed) {
    const Shape& shape = all[seed % all.size()];
    BOOST_TEST_CONTEXT(shape.name) Simulation{shape, seed}.run();
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
