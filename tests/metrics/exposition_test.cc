// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <limits>
#include <string>

#include "metrics/process_metrics.h"
#include "millrace/metrics.h"

using namespace millrace::metrics;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The exit code of `promtool check metrics` fed with `text`; what it objects to is on stderr.
int promtool_verdict(const std::string& text) {
  std::FILE* pipe = popen("promtool check metrics", "w");
  BOOST_REQUIRE(pipe != nullptr);
  std::fwrite(text.data(), 1, text.size(), pipe);
  return pclose(pipe);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(exposition)

BOOST_AUTO_TEST_CASE(families_are_sorted_by_name_and_series_by_labels) {
  Registry registry;
  registry.gauge("b", "B.").set(-0.5);
  registry.counter("a_total", "A.", {{"partition", "1"}}).add(2);
  registry.counter("a_total", "A.", {{"partition", "0"}}).add(1);
  BOOST_TEST(registry.text() ==
             "# HELP a_total A.\n"
             "# TYPE a_total counter\n"
             "a_total{partition=\"0\"} 1\n"
             "a_total{partition=\"1\"} 2\n"
             "# HELP b B.\n"
             "# TYPE b gauge\n"
             "b -0.5\n");
}

BOOST_AUTO_TEST_CASE(histogram_shows_cumulative_buckets_up_to_infinity) {
  Registry registry;
  Histogram& histogram = registry.histogram("a_seconds", "A.", {{"stage", "s"}}, {0.1, 1});
  for (const double value : {0.1, 0.5, 3.0}) histogram.observe(value);
  BOOST_TEST(registry.text() ==
             "# HELP a_seconds A.\n"
             "# TYPE a_seconds histogram\n"
             "a_seconds_count{stage=\"s\"} 3\n"
             "a_seconds_sum{stage=\"s\"} 3.6\n"
             "a_seconds_bucket{stage=\"s\",le=\"0.1\"} 1\n"
             "a_seconds_bucket{stage=\"s\",le=\"1\"} 2\n"
             "a_seconds_bucket{stage=\"s\",le=\"+Inf\"} 3\n");
}

BOOST_AUTO_TEST_CASE(counter_of_nanoseconds_appears_in_seconds) {
  Registry registry;
  registry.counter("busy_seconds_total", "Busy.", {}, 1e-9).add(1'250'000'000);
  BOOST_TEST(contains(registry.text(), "busy_seconds_total 1.25\n"));
}

BOOST_AUTO_TEST_CASE(large_counts_are_written_in_full) {
  Registry registry;
  registry.counter("a_total", "A.").add(1'234'567'890'123);
  BOOST_TEST(contains(registry.text(), "a_total 1234567890123\n"));
}

BOOST_AUTO_TEST_CASE(label_values_and_help_are_escaped) {
  Registry registry;
  registry.gauge("a", "Back\\slash,\nnew line.", {{"b", "quote\" back\\slash new\nline"}});
  const std::string text = registry.text();
  BOOST_TEST(contains(text, "# HELP a Back\\\\slash,\\nnew line.\n"));
  BOOST_TEST(contains(text, "a{b=\"quote\\\" back\\\\slash new\\nline\"} 0\n"));
  BOOST_TEST(promtool_verdict(text) == 0);
}

BOOST_AUTO_TEST_CASE(label_bytes_that_are_not_utf8_are_replaced) {
  Registry registry;
  registry.gauge("a", "A.", {{"latin1", "caf\xE9"}, {"overlong", "\xC0\xAF"}, {"cut", "\xE2\x82"}});
  registry.gauge("b", "B.",
                 {{"surrogate", "\xED\xA0\x80"}, {"good", "\xE2\x82\xAC\xF0\x9F\x8C\x8A"}});
  const std::string text = registry.text();
  const std::string bad = "\xEF\xBF\xBD";
  BOOST_TEST(contains(text, "cut=\"" + bad + bad + "\""));
  BOOST_TEST(contains(text, "latin1=\"caf" + bad + "\""));
  BOOST_TEST(contains(text, "overlong=\"" + bad + bad + "\""));
  BOOST_TEST(contains(text, "surrogate=\"" + bad + bad + bad + "\""));
  BOOST_TEST(contains(text, "good=\"\xE2\x82\xAC\xF0\x9F\x8C\x8A\""));
  BOOST_TEST(promtool_verdict(text) == 0);
}

BOOST_AUTO_TEST_CASE(label_without_a_value_is_no_label) {
  Registry registry;
  Gauge& without = registry.gauge("a", "A.");
  Gauge& empty = registry.gauge("a", "A.", {{"b", ""}});
  BOOST_TEST(&without == &empty);
}

BOOST_AUTO_TEST_CASE(promtool_accepts_the_exposition) {
  Registry registry{{{"cluster", "c1"}}};
  const ProcessMetrics process{registry, "1.2.3"};
  registry.counter("millrace_commits_total", "Commits.", {{"result", "ok"}}).add();
  registry.gauge("millrace_watermark_lag_seconds", "Lag.")
      .set(std::numeric_limits<double>::infinity());
  registry.histogram("millrace_commit_duration_seconds", "Commits.", {}, duration_bounds())
      .observe(0.003);
  BOOST_TEST(promtool_verdict(registry.text()) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
