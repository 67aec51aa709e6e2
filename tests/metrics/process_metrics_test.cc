// SPDX-License-Identifier: Apache-2.0
#include "metrics/process_metrics.h"

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <string>

#include "millrace/metrics.h"

using namespace millrace::metrics;

BOOST_AUTO_TEST_SUITE(process_metrics)

BOOST_AUTO_TEST_CASE(process_figures_are_there_and_plausible) {
  Registry registry;
  {
    const ProcessMetrics process{registry, "1.2.3"};
    const std::string text = registry.text();
    for (const char* name : {"process_cpu_seconds_total", "process_max_fds", "process_open_fds",
                             "process_resident_memory_bytes", "process_start_time_seconds",
                             "process_virtual_memory_bytes"}) {
      const auto line = text.find("\n" + std::string{name} + " ");
      BOOST_REQUIRE_MESSAGE(line != std::string::npos, name << " is missing");
      BOOST_TEST(std::stod(text.substr(line + 2 + std::string{name}.size())) > 0.0, name);
    }
    BOOST_TEST(text.find("millrace_build_info{version=\"1.2.3\"} 1\n") != std::string::npos);
  }
  BOOST_TEST(registry.text().empty());
}

BOOST_AUTO_TEST_CASE(open_files_are_counted_exactly) {
  Registry registry;
  const ProcessMetrics process{registry, "1"};
  Gauge& open_fds = registry.gauge("process_open_fds", "Number of open file descriptors.");
  (void)registry.text();
  const double before = open_fds.value();
  std::FILE* file = std::fopen("/dev/null", "r");
  (void)registry.text();
  BOOST_TEST(open_fds.value() == before + 1);
  std::fclose(file);
}

BOOST_AUTO_TEST_SUITE_END()
