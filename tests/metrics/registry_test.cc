// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "millrace/metrics.h"

using namespace millrace::metrics;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(registry)

BOOST_AUTO_TEST_CASE(same_name_and_labels_are_the_same_instrument) {
  Registry registry;
  Counter& first = registry.counter("a_total", "A.", {{"topic", "t"}, {"partition", "0"}});
  Counter& second = registry.counter("a_total", "A.", {{"partition", "0"}, {"topic", "t"}});
  Counter& other = registry.counter("a_total", "A.", {{"partition", "1"}, {"topic", "t"}});
  BOOST_TEST(&first == &second);
  BOOST_TEST(&first != &other);
}

BOOST_AUTO_TEST_CASE(same_name_with_another_meaning_is_a_programming_error) {
  Registry registry;
  registry.gauge("a", "A.");
  registry.counter("b_total", "B.", {}, 1e-9);
  registry.histogram("c", "C.", {}, {1, 2});
  BOOST_CHECK_THROW(registry.histogram("a", "A.", {}, {1}), std::logic_error);
  BOOST_CHECK_THROW(registry.gauge("a", "Another help."), std::logic_error);
  BOOST_CHECK_THROW(registry.counter("b_total", "B."), std::logic_error);
  BOOST_CHECK_THROW(registry.histogram("c", "C.", {}, {1, 3}), std::logic_error);
}

BOOST_AUTO_TEST_CASE(names_that_prometheus_or_promtool_would_refuse_are_programming_errors) {
  Registry registry;
  for (const char* name : {"", "1a", "a-b", "a b", "a:b", "a_total", "a_count", "a_sum"}) {
    BOOST_CHECK_THROW(registry.gauge(name, "A."), std::logic_error);
  }
  BOOST_CHECK_THROW(registry.counter("a", "A."), std::logic_error);
  BOOST_CHECK_THROW(registry.gauge("a", ""), std::logic_error);
  for (const char* label : {"", "0", "__name__", "le", "quantile", "a-b"}) {
    BOOST_CHECK_THROW(registry.gauge("a", "A.", {{label, "x"}}), std::logic_error);
    BOOST_CHECK_THROW(Registry{(Labels{{label, "x"}})}, std::logic_error);
  }
  BOOST_CHECK_THROW(registry.gauge("a", "A.", {{"b", "1"}, {"b", "2"}}), std::logic_error);
  BOOST_TEST(registry.text().empty());
}

BOOST_AUTO_TEST_CASE(scope_takes_exactly_its_series_along) {
  Registry registry;
  registry.counter("a_total", "A.", {{"task", "0_0"}}).add(1);
  std::optional<Scope> scope{registry.scope()};
  scope->counter("a_total", "A.", {{"task", "0_1"}}).add(2);
  scope->counter("a_total", "A.", {{"task", "0_1"}}).add(1);  // Asked for twice, held once.
  scope->gauge("b", "B.").set(1);
  BOOST_TEST(contains(registry.text(), "a_total{task=\"0_1\"} 3\n"));
  BOOST_TEST(contains(registry.text(), "b 1\n"));
  scope.reset();
  BOOST_TEST(registry.text() ==
             "# HELP a_total A.\n# TYPE a_total counter\na_total{task=\"0_0\"} 1\n");
}

BOOST_AUTO_TEST_CASE(series_of_two_scopes_goes_with_the_last_one) {
  Registry registry;
  std::optional<Scope> old_task{registry.scope()};
  Counter& before = old_task->counter("a_total", "A.");
  Scope new_task = registry.scope();
  Counter& after = new_task.counter("a_total", "A.");
  BOOST_TEST(&before == &after);
  old_task.reset();
  after.add(4);
  BOOST_TEST(contains(registry.text(), "a_total 4\n"));
  new_task = registry.scope();
  BOOST_TEST(registry.text().empty());
}

BOOST_AUTO_TEST_CASE(scope_and_its_instruments_outlive_the_registry) {
  std::optional<Registry> registry{std::in_place};
  Scope scope = registry->scope();
  Gauge& gauge = scope.gauge("a", "A.");
  const CollectHandle handle = registry->on_collect([] {});
  registry.reset();
  gauge.set(2);
  BOOST_TEST(gauge.value() == 2.0);
  BOOST_TEST(scope.gauge("b", "B.").value() == 0.0);
}

BOOST_AUTO_TEST_CASE(removed_name_keeps_its_meaning) {
  Registry registry;
  { registry.scope().gauge("a", "A."); }
  BOOST_CHECK_THROW(registry.gauge("a", "Another."), std::logic_error);
}

BOOST_AUTO_TEST_CASE(constant_labels_are_on_every_series_and_yield_to_its_own) {
  Registry registry{{{"zone", "z1"}, {"app", "bank"}}};
  registry.gauge("a", "A.", {{"store", "s"}}).set(1);
  registry.gauge("b", "B.", {{"app", "own"}}).set(1);
  const std::string text = registry.text();
  BOOST_TEST(contains(text, "a{app=\"bank\",store=\"s\",zone=\"z1\"} 1\n"));
  BOOST_TEST(contains(text, "b{app=\"own\",zone=\"z1\"} 1\n"));
}

BOOST_AUTO_TEST_CASE(collect_callbacks_run_before_each_text_until_their_handle_goes) {
  Registry registry;
  int calls = 0;
  std::optional<CollectHandle> handle{
      registry.on_collect([&] { registry.gauge("a", "A.").set(++calls); })};
  BOOST_TEST(contains(registry.text(), "a 1\n"));
  BOOST_TEST(contains(registry.text(), "a 2\n"));
  handle.reset();
  BOOST_TEST(contains(registry.text(), "a 2\n"));
  BOOST_TEST(calls == 2);
}

// Scopes and callbacks come and go on one thread while another one scrapes: a half-made series or a
// callback that outlives its handle would show here, the latter under a sanitizer.
BOOST_AUTO_TEST_CASE(series_may_come_and_go_while_another_thread_scrapes) {
  Registry registry;
  std::atomic<bool> done{false};
  std::thread tasks{[&] {
    for (int i = 0; i < 500; ++i) {
      Scope scope = registry.scope();
      scope.counter("a_total", "A.", {{"task", std::to_string(i % 7)}}).add();
      Gauge& gauge = scope.gauge("b", "B.");
      const CollectHandle handle = registry.on_collect([&gauge] { gauge.add(1); });
    }
    done = true;
  }};
  while (!done) BOOST_REQUIRE_NO_THROW((void)registry.text());
  tasks.join();
  BOOST_TEST(registry.text().empty());
}

BOOST_AUTO_TEST_SUITE_END()
