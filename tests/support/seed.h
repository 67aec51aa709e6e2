// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <random>
#include <string>

#include <boost/test/results_collector.hpp>
#include <boost/test/unit_test.hpp>

namespace millrace::testing {

/// The seed that MILLRACE_TEST_SEED asks for, to see a failure again.
inline std::optional<std::uint64_t> asked_seed() {
  const char* text = std::getenv("MILLRACE_TEST_SEED");
  if (text == nullptr) return std::nullopt;
  return std::stoull(text);
}

/// Runs `run(seed)` for `count` seeds from a random one on, or for the one asked for;
/// MILLRACE_TEST_SEEDS asks for another number of them. A failed seed ends it and is named.
inline void for_seeds(const std::string& name, std::size_t count,
                      const std::function<void(std::uint64_t)>& run) {
  const auto asked = asked_seed();
  const std::uint64_t first = asked ? *asked : std::random_device{}();
  const char* const more = std::getenv("MILLRACE_TEST_SEEDS");
  const std::size_t runs = more != nullptr ? std::stoull(more) : asked ? 1 : count;
  const auto failures = [] {
    using namespace boost::unit_test;
    return results_collector.results(framework::current_test_case().p_id).p_assertions_failed.get();
  };
  for (std::size_t i = 0; i < runs; ++i) {
    try {
      run(first + i);
    } catch (...) {
      std::cerr << name << ": failed with MILLRACE_TEST_SEED=" << first + i << '\n';
      throw;
    }
    if (failures() > 0) {
      std::cerr << name << ": failed with MILLRACE_TEST_SEED=" << first + i << '\n';
      return;
    }
  }
  std::cerr << name << ": " << runs << " seeds from MILLRACE_TEST_SEED=" << first << '\n';
}

}  // namespace millrace::testing
