// SPDX-License-Identifier: Apache-2.0
//
// What operators see of records, and what becomes of those that cannot be used.
#include <random>

#include <boost/test/unit_test.hpp>

#include "millrace/json.h"
#include "millrace/test_driver.h"
#include "runtime/partitioner.h"
#include "tests/runtime/task_harness.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;

const Topic<std::string, std::int64_t> numbers{"numbers"};
const Topic<std::string, std::int64_t> out{"out"};
const Topic<std::string, std::string> texts{"texts"};

std::string metric(const TestDriver& driver, const std::string& reason) {
  const std::string text = driver.metrics_text();
  const auto at = text.find("reason=\"" + reason + "\"");
  if (at == std::string::npos) return "none";
  const auto value = text.find("} ", at) + 2;
  return text.substr(value, text.find('\n', value) - value);
}

std::string failure(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no failure";
}

BOOST_AUTO_TEST_SUITE(records)

// KS-3
BOOST_AUTO_TEST_CASE(the_context_names_topic_partition_offset_timestamp_and_headers) {
  std::vector<std::string> seen;
  Topology topology;
  topology.stream(numbers).reduce<std::int64_t>(
      "state", [&seen](const auto& record, std::optional<std::int64_t>, auto& context) {
        seen.push_back(std::string{context.topic()} + '-' + std::to_string(context.partition()) +
                       '@' + std::to_string(context.offset()) + ' ' +
                       std::to_string(to_millis(context.timestamp())) + ' ' +
                       context.headers().at(0).name + '=' + *context.headers().at(0).value + ' ' +
                       context.task_id() + ' ' + std::to_string(to_millis(context.stream_time())));
        BOOST_CHECK(record.headers() == context.headers());
        return record.value();
      });
  TestDriver driver{topology, {.partitions = {{"numbers", 3}}}};
  auto input = driver.input(numbers);
  const auto partition = std::to_string(partition_of("k", 3));
  input.pipe("k", 1, from_millis(70), {{"h", "1"}});
  input.pipe("k", 1, from_millis(50), {{"h", "2"}});
  BOOST_REQUIRE(seen.size() == 2U);
  BOOST_TEST(seen[0] == "numbers-" + partition + "@0 70 h=1 0_" + partition + " 70");
  BOOST_TEST(seen[1] == "numbers-" + partition + "@1 50 h=2 0_" + partition + " 70");
}

// KS-4, KF-41
BOOST_AUTO_TEST_CASE(a_reducer_reacts_not_at_all_once_or_many_times_with_the_records_time) {
  Topology topology;
  topology.stream(numbers).reduce<std::int64_t>(
      "state",
      [](const auto& record, std::optional<std::int64_t>,
         auto& context) -> std::optional<std::int64_t> {
        for (std::int64_t i = 0; i < record.value(); ++i) context.react(out, record.key(), i);
        return std::nullopt;
      },
      reacts_to(out));
  TestDriver driver{topology};
  for (const std::int64_t reactions : {0, 1, 5}) {
    driver.input(numbers).pipe("k", reactions, from_millis(1234));
    const auto written = driver.output(out).read_all();
    BOOST_REQUIRE(written.size() == static_cast<std::size_t>(reactions));
    for (std::size_t i = 0; i < written.size(); ++i) {
      BOOST_TEST(*written[i].value == static_cast<std::int64_t>(i));
      BOOST_TEST(to_millis(written[i].timestamp) == 1234);
    }
  }
}

// KS-6, KS-7, KS-16
BOOST_AUTO_TEST_CASE(each_record_of_a_key_is_reduced_once_and_in_offset_order) {
  millrace::testing::for_seeds("order per key", 200, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::map<std::string, std::vector<std::int64_t>> calls;
    Topology topology;
    topology.stream(numbers).reduce<std::int64_t>(
        "calls", [&](const auto& record, std::optional<std::int64_t> state, auto&) {
          calls[record.key()].push_back(record.value());
          BOOST_TEST(state.value_or(0) + 1 ==
                     static_cast<std::int64_t>(calls[record.key()].size()));
          return state.value_or(0) + 1;
        });
    TestDriverOptions options;
    options.partitions = {{"numbers", static_cast<std::int32_t>(random() % 5 + 1)}};
    options.batch_records_max = random() % 7 + 1;
    options.commit_every_record = random() % 2 == 0;
    options.cache_bytes_max = random() % 3 == 0 ? 0 : random() % 3000;
    TestDriver driver{topology, options};
    std::map<std::string, std::vector<std::int64_t>> expected;
    for (std::int64_t i = 0; i < 60; ++i) {
      const auto key = "key" + std::to_string(random() % 8);
      expected[key].push_back(i);
      driver.input(numbers).pipe(key, i, from_millis(static_cast<std::int64_t>(random() % 100)));
      if (random() % 10 == 0) driver.commit();
      if (random() % 20 == 0) driver.checkpoint();
    }
    BOOST_CHECK(calls == expected);
  });
}

// KS-16
BOOST_AUTO_TEST_CASE(a_large_poll_is_split_by_the_batch_cap) {
  Topology topology;
  topology.stream(numbers).group_by_key().count("counts");
  millrace::testing::TaskHarness task{topology};
  BOOST_REQUIRE(task.start().ok());
  for (int i = 0; i < 2500; ++i) task.append("numbers", "k", std::string(8, '\0'));
  BOOST_TEST(*task.process(1024) == 1024U);
  BOOST_TEST(task.task->buffered() == 1476U);
  BOOST_TEST(*task.process(1024) == 1024U);
  BOOST_TEST(*task.process(1024) == 452U);
  BOOST_TEST(*task.process(1024) == 0U);
}

// KS-9
BOOST_AUTO_TEST_CASE(the_misses_of_a_batch_are_read_in_one_call) {
  Topology topology;
  topology.stream(numbers).filter([](const auto&) { return true; }).group_by_key().count("counts");
  millrace::testing::TaskHarness task{topology};
  BOOST_REQUIRE(task.start().ok());
  const auto round = [&] {
    for (int i = 0; i < 1000; ++i)
      task.append("numbers", "key" + std::to_string(i % 500), std::string(8, '\0'));
    BOOST_REQUIRE(task.process(5000).has_value());
    BOOST_REQUIRE(task.commit().ok());
    BOOST_REQUIRE(task.task->checkpoint().ok());
  };
  round();
  BOOST_TEST(task.disk->probe->gets + task.disk->probe->multi_gets ==
             0U);  // An empty engine need not be asked.
  task.crash(true);
  BOOST_REQUIRE(task.start().ok());
  round();
  BOOST_TEST(task.disk->probe->multi_gets == 1U);
  BOOST_TEST(task.disk->probe->keys_of_multi_gets == 500U);
  BOOST_TEST(task.disk->probe->gets == 0U);
  BOOST_TEST(task.disk->probe->applies == 2U);
}

// KS-20
BOOST_AUTO_TEST_CASE(null_keys_are_dropped_and_counted_and_the_empty_key_is_a_key) {
  Topology topology;
  auto stream = topology.stream(numbers);
  stream.group_by_key().count("counts");
  stream.reduce<std::int64_t>("sums", [](const auto& record, std::optional<std::int64_t> sum,
                                         auto&) { return sum.value_or(0) + record.value(); });
  stream.map_values([](std::int64_t n) { return n; }).to(out);
  TestDriver driver{topology, {.partitions = {{"numbers", 4}}}};
  auto input = driver.input(numbers);
  for (int i = 0; i < 4; ++i) input.pipe(std::nullopt, 1);
  input.pipe("", 10);
  input.pipe("", 20);
  input.pipe("k", 5);
  const auto counts = driver.store<std::string, std::int64_t>("counts");
  BOOST_TEST(counts.all().size() == 2U);
  BOOST_TEST(*counts.get("") == 2);
  BOOST_TEST((*driver.store<std::string, std::int64_t>("sums").get("") == 30));
  BOOST_TEST(*counts.get("k") == 1);
  BOOST_TEST(metric(driver, "null_key") == "2");  // Task 0_0: one record, two operators.
  std::size_t null_keys = 0;
  std::size_t empty_keys = 0;
  for (const auto& record : driver.output(out).read_all()) {
    null_keys += record.key ? 0U : 1U;
    empty_keys += record.key && record.key->empty() ? 1U : 0U;
  }
  BOOST_TEST(null_keys == 4U);
  BOOST_TEST(empty_keys == 2U);
  const auto log = driver.records("test-counts-changelog");
  BOOST_TEST(std::count_if(log.begin(), log.end(),
                           [](const auto& r) { return r.key && r.key->empty(); }) == 2);
  driver.crash_after(Step::kCommit);
  input.pipe("", 1);
  driver.restart();
  BOOST_TEST(*counts.get("") == 3);
}

// KS-19, KF-30
BOOST_AUTO_TEST_CASE(null_values_are_dropped_unless_they_delete_the_key) {
  for (const bool deletes : {false, true}) {
    Topology topology;
    topology.stream(numbers).reduce<std::int64_t>(
        "state",
        [](const auto& record, std::optional<std::int64_t>, auto&) { return record.value(); }, {},
        deletes ? on_null_value(delete_key) : NullValue::kDrop);
    TestDriver driver{topology};
    auto input = driver.input(numbers);
    input.pipe("a", std::nullopt);  // Unknown key: nothing to delete, nothing logged.
    BOOST_TEST(driver.records("test-state-changelog").empty());
    input.pipe("a", 1);
    input.pipe("a", std::nullopt);
    const auto store = driver.store<std::string, std::int64_t>("state");
    BOOST_TEST(store.get("a").has_value() == !deletes);
    const auto log = driver.records("test-state-changelog");
    BOOST_REQUIRE(log.size() == (deletes ? 2U : 1U));
    if (deletes) BOOST_TEST(!log[1].value.has_value());
    BOOST_TEST(metric(driver, "null_value") == (deletes ? "0" : "2"));
    driver.crash_after(Step::kFlush);
    input.pipe("b", 1);
    driver.restart();
    BOOST_TEST(store.get("a").has_value() == !deletes);
  }
}

BOOST_AUTO_TEST_CASE(functions_of_the_value_are_not_called_for_null_which_passes_on) {
  int peeked = 0;
  Topology topology;
  topology.stream(numbers)
      .filter([](std::int64_t n) { return n > 0; })
      .map_values([](std::int64_t n) { return n * 2; })
      .peek([&](std::int64_t) { ++peeked; })
      .to(out);
  TestDriver driver{topology};
  driver.input(numbers).pipe("k", std::nullopt, from_millis(9));
  driver.input(numbers).pipe("k", 3);
  driver.input(numbers).pipe("k", -3);
  const auto written = driver.output(out).read_all();
  BOOST_REQUIRE(written.size() == 2U);
  BOOST_TEST(!written[0].value.has_value());
  BOOST_TEST(to_millis(written[0].timestamp) == 9);
  BOOST_TEST(*written[1].value == 6);
  BOOST_TEST(peeked == 1);

  Topology splitting;
  splitting.stream(texts)
      .flat_map([](const std::string& text) {
        std::vector<std::pair<std::string, std::int64_t>> pairs;
        for (const char c : text) pairs.emplace_back(std::string(1, c), 1);
        return pairs;
      })
      .to(out);
  TestDriver other{splitting};
  other.input(texts).pipe("k", std::nullopt);
  other.input(texts).pipe("k", "");
  other.input(texts).pipe("k", "ab");
  BOOST_TEST(other.output(out).read_all().size() == 2U);
}

BOOST_AUTO_TEST_CASE(value_of_a_null_value_throws_a_typed_error_named_with_the_record) {
  Topology topology;
  topology.stream(numbers).filter([](const auto& record) { return record.value() > 0; }).to(out);
  TestDriver driver{topology};
  const auto text = failure([&] { driver.input(numbers).pipe("k", std::nullopt); });
  BOOST_TEST(text.find("numbers-0@0") != std::string::npos);
  BOOST_TEST(text.find("KSTREAM-FILTER-") != std::string::npos);
  BOOST_TEST(text.find("has no value") != std::string::npos);
  BOOST_TEST(driver.crashed());
}

// --- Errors: KS-21

struct Text {
  std::string text;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Text, text)
const Topic<std::string, Text> json_texts{"texts"};

BOOST_AUTO_TEST_CASE(undecodable_records_fail_or_are_skipped_by_policy) {
  const auto make = [](SourceOptions options) {
    Topology topology;
    topology.stream(numbers, options).group_by_key().count("counts");
    return topology;
  };
  TestDriver failing{make({})};
  const auto text = failure([&] { failing.input(numbers).pipe_bytes("k", "three"); });
  BOOST_TEST(text.find("numbers-0@0") != std::string::npos);
  BOOST_TEST(text.find("expected 8 bytes, got 5") != std::string::npos);

  for (const bool by_source : {true, false}) {
    TestDriverOptions options;
    if (!by_source) options.on_decode_error = ErrorPolicy::kSkip;
    TestDriver skipping{
        make(by_source ? SourceOptions{.on_decode_error = ErrorPolicy::kSkip} : SourceOptions{}),
        options};
    skipping.input(numbers).pipe("k", 1, from_millis(10));
    skipping.input(numbers).pipe_bytes("k", "three", from_millis(99));
    skipping.input(numbers).pipe("k", 1, from_millis(11));
    BOOST_TEST((*skipping.store<std::string, std::int64_t>("counts").get("k") == 2));
    BOOST_TEST(metric(skipping, "decode_error") == "1");
  }
}

// Reacts, changes its own and another key, then throws where told to.
class Careless final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void process(const Record<std::string, std::int64_t>& record, Context& context) override {
    auto store = context.store<std::string, std::string>("state");
    const std::int64_t n = record.value();
    store.put(record.key(), "value " + std::to_string(n));
    store.put("last", record.key() + " with enough text to live on the heap");
    if (n == 2) store.erase("first");
    context.react(out, record.key(), n);
    context.forward(record.key(), n);
    if (n == 2) throw std::runtime_error("two");
    if (n == 3) throw 3;
  }
};

BOOST_AUTO_TEST_CASE(a_skipped_or_dead_lettered_record_leaves_no_trace) {
  const Topic<std::string, std::int64_t> forwarded{"forwarded"};
  const auto run = [&](const std::vector<std::pair<std::string, std::int64_t>>& input,
                       bool checkpoint, ErrorPolicy policy) {
    Topology topology;
    topology.store<std::string, std::string>("state");
    auto stream = topology.stream(numbers);
    stream.group_by_key().count("counts");
    stream.process<Careless>(connects("state"), reacts_to(out)).to(forwarded);
    TestDriver driver{topology, {.commit_every_record = false, .on_error = policy}};
    for (const auto& [key, n] : input) {
      driver.input(numbers).pipe(key, n, from_millis(n == 1 ? 5 : 500));
      if (checkpoint) driver.commit(), driver.checkpoint();
    }
    driver.commit();
    std::vector<std::string> trace;
    for (const char* topic :
         {"out", "forwarded", "test-state-changelog", "test-counts-changelog"}) {
      for (const auto& record : driver.records(topic)) {
        trace.push_back(std::string{topic} + ' ' + *record.key + '=' +
                        record.value.value_or("null") + '@' +
                        std::to_string(to_millis(record.timestamp)));
      }
    }
    for (const auto& entry : driver.store<std::string, std::string>("state").all())
      trace.push_back(entry.key + entry.value);
    return std::pair{trace, metric(driver, "user_error")};
  };
  for (const bool checkpoint : {false, true}) {
    for (const auto policy : {ErrorPolicy::kSkip, ErrorPolicy::kDeadLetter}) {
      const auto [with, skipped] = run(
          {{"first", 1}, {"b", 1}, {"new", 2}, {"b", 2}, {"c", 3}, {"a", 1}}, checkpoint, policy);
      const auto [without, none] = run({{"first", 1}, {"b", 1}, {"a", 1}}, checkpoint, policy);
      BOOST_TEST(with == without, boost::test_tools::per_element());
      BOOST_TEST(skipped == "3");
      BOOST_TEST(none == "0");
    }
  }
}

BOOST_AUTO_TEST_CASE(a_skipped_record_does_not_move_stream_time) {
  Topology topology;
  const auto not_two = [](std::int64_t n) {
    if (n == 2) throw std::runtime_error("two");
    return true;
  };
  topology.stream(numbers).filter(not_two).to(out);
  millrace::testing::TaskHarness task{topology};
  task.settings.errors.on_error = task.settings.errors.on_decode_error = ErrorPolicy::kSkip;
  BOOST_REQUIRE(task.start().ok());
  task.append("numbers", "k", std::string(8, '\0'), from_millis(10));
  task.append("numbers", "k", std::string(7, '\0') + '\2', from_millis(1000));
  task.append("numbers", "k", "undecodable", from_millis(2000));
  BOOST_TEST(*task.process(10) == 3U);
  BOOST_TEST(to_millis(task.task->stream_time()) == 10);
  BOOST_REQUIRE(task.commit().ok());
  BOOST_TEST(to_millis(*decode_partition_time(task.log.committed(task.plan.inputs)[0].metadata)) ==
             10);
  BOOST_TEST(task.source() == 3);
}

BOOST_AUTO_TEST_CASE(what_is_thrown_is_named_with_record_and_operator_under_fail) {
  for (const std::int64_t n : {2, 3}) {
    Topology topology;
    topology.store<std::string, std::string>("state");
    topology.stream(numbers).process<Careless>(connects("state"), reacts_to(out));
    TestDriver driver{topology};
    driver.input(numbers).pipe("k", 1);
    const auto text = failure([&] { driver.input(numbers).pipe("k", n); });
    BOOST_TEST(text.find("numbers-0@1") != std::string::npos);
    BOOST_TEST(text.find("KSTREAM-PROCESSOR-") != std::string::npos);
    BOOST_TEST(text.find(n == 2 ? "two" : "no std::exception") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_reaction_to_an_unlisted_topic_names_topic_record_and_operator) {
  Topology topology;
  topology.stream(numbers).reduce<std::int64_t>(
      "state", [](const auto& record, std::optional<std::int64_t>, auto& context) {
        context.react(out, record.key(), record.value());
        return record.value();
      });
  TestDriver driver{topology};
  const auto text = failure([&] { driver.input(numbers).pipe("k", 1); });
  BOOST_TEST(text.find("topic 'out'") != std::string::npos);
  BOOST_TEST(text.find("reacts_to") != std::string::npos);
  BOOST_TEST(text.find("numbers-0@0, operator KSTREAM-REDUCE-") != std::string::npos);
}

// nlohmann-json throws for text that is not UTF-8: in an output at once, in a state at the commit.
BOOST_AUTO_TEST_CASE(a_value_that_cannot_be_encoded_fails_the_task_with_a_status) {
  Topology topology;
  topology.stream(texts).reduce<Text>(
      "state", [](const auto& record, std::optional<Text>, auto&) { return Text{record.value()}; });
  TestDriver driver{topology};
  const auto text = failure([&] { driver.input(texts).pipe("k", "\xff\xfe"); });
  BOOST_TEST(text.find("test-state-changelog-0") != std::string::npos);
  BOOST_TEST(text.find("cannot be encoded") != std::string::npos);
  BOOST_TEST(driver.crashed());

  Topology stateless;
  const Topic<std::string, Text> json_out{"json-out"};
  stateless.stream(texts).map_values([](const std::string& t) { return Text{t}; }).to(json_out);
  TestDriver skipping{stateless, {.on_error = ErrorPolicy::kSkip}};
  skipping.input(texts).pipe("k", "\xff\xfe");
  skipping.input(texts).pipe("k", "fine");
  BOOST_TEST(skipping.output(json_out).read_all().size() == 1U);
}

// A reaction to the topic that is being read, many times within a batch.
BOOST_AUTO_TEST_CASE(a_reducer_may_react_to_its_own_source) {
  Topology topology;
  topology.stream(numbers).reduce<std::int64_t>(
      "state",
      [](const auto& record, std::optional<std::int64_t> state, auto& context) {
        if (record.value() > 0) {
          context.react(numbers, record.key(), record.value() - 1);
          context.react(numbers, record.key(), record.value() - 1);
        }
        return state.value_or(0) + 1;
      },
      reacts_to(numbers));
  TestDriver driver{topology};
  driver.input(numbers).pipe("k", 9);
  BOOST_TEST((*driver.store<std::string, std::int64_t>("state").get("k") == 1023));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
