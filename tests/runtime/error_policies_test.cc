// SPDX-License-Identifier: Apache-2.0
//
// What becomes of records that cannot be processed: KS-21.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "millrace/test_driver.h"
#include "runtime/dead_letter.h"
#include "runtime/kafka/producer.h"
#include "runtime/log_limit.h"
#include "tests/runtime/task_harness.h"

namespace {

using namespace millrace;
using namespace std::chrono_literals;
using millrace::testing::TaskHarness;

const Topic<std::string, std::int64_t> numbers{"numbers"};
const Topic<std::string, std::int64_t> others{"others"};
const Topic<std::string, std::int64_t> out{"out"};
const Topic<std::string, std::string> texts{"texts"};
const Topic<std::string, std::string> text_out{"text-out"};

std::string bytes_of(std::int64_t number) {
  std::string bytes;
  Serde<std::int64_t>::encode(number, bytes);
  return bytes;
}

// The value of the first series in a Prometheus exposition whose line has `part`.
std::string metric(const std::string& text, const std::string& part) {
  const auto at = text.find(part);
  if (at == std::string::npos) return "none";
  const auto value = text.find("} ", at) + 2;
  return text.substr(value, text.find('\n', value) - value);
}
std::string dropped(const TestDriver& driver, const std::string& reason) {
  return metric(driver.metrics_text(), "reason=\"" + reason + "\"");
}

std::string failure(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no failure";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::map<std::string, std::string> by_name(const Headers& headers) {
  std::map<std::string, std::string> found;
  for (const auto& header : headers) found[header.name] = header.value.value_or("null");
  return found;
}

// Sums and hands on what it has; throws as often as `failures` says for a value.
Topology sums(std::shared_ptr<std::map<std::int64_t, int>> failures, SourceOptions options = {}) {
  Topology topology;
  topology.stream(numbers, std::move(options))
      .reduce<std::int64_t>(
          "sums",
          [failures](const auto& record, std::optional<std::int64_t> sum, auto& context) {
            context.react(out, record.key(), record.value());
            if (auto& left = (*failures)[record.value()]; left > 0) {
              --left;
              throw std::runtime_error("not " + std::to_string(record.value()));
            }
            return sum.value_or(0) + record.value();
          },
          reacts_to(out));
  return topology;
}
auto failing(std::int64_t value, int times = 1'000'000) {
  return std::make_shared<std::map<std::int64_t, int>>(std::map<std::int64_t, int>{{value, times}});
}

BOOST_AUTO_TEST_SUITE(error_policies)

// KS-21, faults.md F19. The names of KIP-1034, which tools for Kafka Streams read.
BOOST_AUTO_TEST_CASE(a_dead_letter_has_the_records_bytes_and_headers_and_says_what_happened) {
  TestDriver driver{sums(failing(2)),
                    {.partitions = {{"numbers", 2}, {"test-dead-letter", 2}},
                     .on_decode_error = ErrorPolicy::kDeadLetter,
                     .on_error = ErrorPolicy::kDeadLetter}};
  auto input = driver.input(numbers);
  std::string key = "a";
  while (partition_of(key, 2) != 1) ++key[0];
  const std::string undecodable{"three\0bytes", 11};
  input.pipe(key, 1, from_millis(10));
  input.pipe(key, 2, from_millis(20), {{"trace", "abc"}, {"null", std::nullopt}, {"trace", "d"}});
  input.pipe_bytes(key, undecodable, from_millis(30));
  input.pipe(key, 4, from_millis(40));

  const auto letters = driver.records("test-dead-letter");
  BOOST_REQUIRE(letters.size() == 2U);
  BOOST_TEST(letters[0].partition == 1);
  BOOST_TEST(*letters[0].key == key);
  BOOST_TEST(*letters[0].value == bytes_of(2));
  BOOST_TEST(to_millis(letters[0].timestamp) == 20);
  const Headers expected{
      {"trace", "abc"},
      {"null", std::nullopt},
      {"trace", "d"},
      {"__streams.errors.exception", "user_error"},
      {"__streams.errors.message", "operator KSTREAM-REDUCE-0000000001 threw: not 2"},
      {"__streams.errors.topic", "numbers"},
      {"__streams.errors.partition", "1"},
      {"__streams.errors.offset", "1"},
      {"millrace.error.timestamp", "20"},
      {"millrace.error.application", "test"},
      {"millrace.error.task", "0_1"},
      {"millrace.error.attempts", "1"},
      {"millrace.error.operator", "KSTREAM-REDUCE-0000000001"},
  };
  BOOST_TEST((letters[0].headers == expected));

  BOOST_TEST(*letters[1].key == key);
  BOOST_TEST((*letters[1].value == undecodable));
  auto why = by_name(letters[1].headers);
  BOOST_TEST(why["__streams.errors.exception"] == "decode_error");
  BOOST_TEST(why["__streams.errors.message"] ==
             "cannot be decoded, value: expected 8 bytes, got 11");
  BOOST_TEST(why["__streams.errors.offset"] == "2");
  BOOST_TEST(why["millrace.error.operator"] == "KSTREAM-SOURCE-0000000000");

  // The partition goes on, and nothing else is left of them.
  BOOST_TEST((*driver.store<std::string, std::int64_t>("sums").get(key) == 5));
  BOOST_TEST(driver.records("out").size() == 2U);
  BOOST_TEST(driver.records("test-sums-changelog").size() == 2U);
}

// KS-21
BOOST_AUTO_TEST_CASE(a_dead_letter_is_in_the_commit_of_its_records_offset) {
  TaskHarness task{sums(failing(2))};
  task.log.create_topic("dead", 1);
  task.settings.errors.on_error = ErrorPolicy::kDeadLetter;
  task.settings.errors.dead_letter_topic = "dead";
  BOOST_REQUIRE(task.start().ok());
  for (const std::int64_t n : {1, 2, 3}) task.append("numbers", "k", bytes_of(n));
  BOOST_TEST(*task.process(10) == 3U);
  const auto prepared = *task.task->prepare();
  BOOST_TEST(prepared->outputs->produced() == 3);  // Two reactions and the letter.
  BOOST_REQUIRE(task.complete(prepared).ok());
  BOOST_TEST(task.source() == 3);
  BOOST_TEST(task.log.partition({"dead", 0}).size() == 1U);
  BOOST_TEST(metric(task.registry->text(), "millrace_dead_letters_total{") == "1");
}

// FC-15 has the same words for workflows: honoured without blocking others.
BOOST_AUTO_TEST_CASE(a_record_is_tried_again_after_pauses_that_double_while_other_tasks_go_on) {
  const auto failures = failing(2, 2);
  TestDriver driver{
      sums(failures),
      {.partitions = {{"numbers", 2}}, .error_retries = 3, .error_retry_backoff = 100ms}};
  std::string other = "a";  // Of the other partition.
  while (partition_of(other, 2) == partition_of("k", 2)) ++other[0];
  auto input = driver.input(numbers);
  const auto sum = [&](const std::string& key) {
    return driver.store<std::string, std::int64_t>("sums").get(key).value_or(0);
  };
  const auto left = [&] { return failures->at(2); };
  input.pipe("k", 1);
  input.pipe("k", 2);
  input.pipe("k", 4);
  BOOST_TEST(left() == 1);
  BOOST_TEST(sum("k") == 1);
  input.pipe(other, 8);
  BOOST_TEST(sum(other) == 8);
  driver.advance(99ms);
  BOOST_TEST(left() == 1);
  driver.advance(1ms);
  BOOST_TEST(left() == 0);
  BOOST_TEST(sum("k") == 1);
  driver.advance(199ms);
  BOOST_TEST(sum("k") == 1);
  driver.advance(1ms);
  BOOST_TEST(sum("k") == 7);
  // Each reaction once, in order.
  std::vector<std::int64_t> reactions;
  for (const auto& record : driver.output(out).read_all()) {
    if (*record.key == "k") reactions.push_back(*record.value);
  }
  BOOST_TEST((reactions == std::vector<std::int64_t>{1, 2, 4}));
  BOOST_TEST(dropped(driver, "user_error") == "0");
  BOOST_TEST(contains(driver.metrics_text(), "millrace_record_retries_total{task=\"0_" +
                                                 std::to_string(partition_of("k", 2)) + "\"} 2"));
}

BOOST_AUTO_TEST_CASE(when_the_attempts_are_over_the_policy_decides) {
  for (const auto policy : {ErrorPolicy::kFail, ErrorPolicy::kSkip, ErrorPolicy::kDeadLetter}) {
    const auto failures = failing(2);
    TestDriver driver{
        sums(failures, {.on_error = policy, .error_retries = 2, .error_retry_backoff = 1ms})};
    driver.input(numbers).pipe("k", 2);
    driver.input(numbers).pipe("k", 4);
    driver.advance(1ms);
    BOOST_TEST(!driver.crashed());
    const auto text = failure([&] { driver.advance(2ms); });
    BOOST_TEST(failures->at(2) == 1'000'000 - 3);
    BOOST_TEST(driver.crashed() == (policy == ErrorPolicy::kFail));
    if (policy == ErrorPolicy::kFail) {
      BOOST_TEST(contains(text, "numbers-0@0"), text);
      BOOST_TEST(contains(text, "not 2"), text);
      continue;
    }
    BOOST_TEST((*driver.store<std::string, std::int64_t>("sums").get("k") == 4));
    BOOST_TEST(dropped(driver, "user_error") == "1");
    if (policy == ErrorPolicy::kSkip) continue;
    const auto letters = driver.records("test-dead-letter");
    BOOST_REQUIRE(letters.size() == 1U);
    BOOST_TEST(by_name(letters[0].headers)["millrace.error.attempts"] == "3");
  }
}

// Decoding the same bytes again changes nothing.
BOOST_AUTO_TEST_CASE(what_cannot_be_decoded_is_not_tried_again) {
  TestDriver driver{sums(failing(2)),
                    {.on_decode_error = ErrorPolicy::kSkip, .error_retries = 100}};
  driver.input(numbers).pipe_bytes("k", "bad");
  driver.input(numbers).pipe("k", 4);
  BOOST_TEST((*driver.store<std::string, std::int64_t>("sums").get("k") == 4));
}

// KS-7, KF-29: a commit meanwhile covers what came before, and a crash begins the attempts anew.
BOOST_AUTO_TEST_CASE(a_commit_and_a_restart_between_attempts_lose_nothing_and_repeat_nothing) {
  for (const bool keep_disk : {false, true}) {
    const auto failures = failing(2, 2);
    TaskHarness task{sums(failures)};
    task.settings.errors.retries = 3;
    task.settings.errors.retry_backoff = 100ms;
    BOOST_REQUIRE(task.start().ok());
    for (const std::int64_t n : {1, 2, 4}) {
      task.append("numbers", "k", bytes_of(n), from_millis(n == 2 ? 900 : n));
    }
    BOOST_TEST(*task.process(10) == 1U);
    BOOST_TEST(task.task->position(0) == 1);
    BOOST_TEST(task.task->buffered() == 2U);
    BOOST_TEST(to_millis(task.task->stream_time()) == 1);
    BOOST_REQUIRE(task.commit().ok());
    BOOST_TEST(task.source() == 1);
    BOOST_REQUIRE(task.task->checkpoint().ok());
    task.crash(keep_disk);

    BOOST_REQUIRE(task.start().ok());
    BOOST_TEST(*task.process(10) == 0U);  // The second failure.
    BOOST_TEST(*task.process(10) == 0U);  // Not yet.
    BOOST_TEST(failures->at(2) == 0);
    BOOST_REQUIRE(task.commit().ok());
    task.clock.advance(100ms);
    BOOST_TEST(*task.process(10) == 2U);
    BOOST_REQUIRE(task.commit().ok());
    BOOST_TEST(task.source() == 3);
    BOOST_TEST(task.live().at("k") == bytes_of(7));
    BOOST_TEST(task.log.partition({"out", 0}).size() == 3U);
  }
}

// A record that waits keeps its turn, whatever comes in another input meanwhile.
BOOST_AUTO_TEST_CASE(no_record_of_another_input_overtakes_one_that_waits) {
  struct Log final : Processor<std::string, std::int64_t, std::string, std::int64_t> {
    explicit Log(std::shared_ptr<std::map<std::int64_t, int>> all) : failures(std::move(all)) {}
    void process(const Record<std::string, std::int64_t>& record, Context& context) override {
      context.react(out, record.key(), record.value());
      auto& left = (*failures)[record.value()];
      if (left-- > 0) throw std::runtime_error("not now");
    }
    std::shared_ptr<std::map<std::int64_t, int>> failures;
  };
  const auto failures = failing(2, 1);
  Topology topology;
  topology.store<std::string, std::int64_t>("state");
  for (const auto& topic : {numbers, others}) {
    topology.stream(topic).process<Log>(connects("state"), reacts_to(out), failures);
  }
  TestDriver driver{topology, {.error_retries = 1, .error_retry_backoff = 50ms}};
  driver.input(numbers).pipe("k", 2, from_millis(100));
  driver.input(others).pipe("k", 1, from_millis(1));
  driver.advance(50ms);
  const auto written = driver.output(out).read_all();
  BOOST_REQUIRE(written.size() == 2U);
  BOOST_TEST(*written[0].value == 2);
  BOOST_TEST(*written[1].value == 1);
}

// --- Outputs that are too large ---

Topology wide(SourceOptions options = {}) {
  Topology topology;
  topology.stream(texts, std::move(options))
      .reduce<std::string>(
          "state",
          [](const auto& record, std::optional<std::string>, auto& context) {
            context.react(text_out, record.key(), std::string{"before"});
            context.react(text_out, record.key(), std::string(record.value().size() * 10, 'x'));
            return record.value();
          },
          reacts_to(text_out));
  return topology;
}

// KS-21
BOOST_AUTO_TEST_CASE(a_record_whose_output_is_too_large_leaves_no_trace_but_its_dead_letter) {
  for (const auto policy : {ErrorPolicy::kSkip, ErrorPolicy::kDeadLetter}) {
    TestDriver driver{wide({.on_produce_error = policy}), {.message_bytes_max = 1000}};
    driver.input(texts).pipe("k", "fine");
    driver.input(texts).pipe("k", std::string(100, 'y'));
    BOOST_TEST(driver.records("text-out").size() == 2U);
    BOOST_TEST((*driver.store<std::string, std::string>("state").get("k") == "fine"));
    BOOST_TEST(dropped(driver, "produce_error") == "1");
    if (policy == ErrorPolicy::kSkip) continue;
    const auto letters = driver.records("test-dead-letter");
    BOOST_REQUIRE(letters.size() == 1U);
    BOOST_TEST(*letters[0].value == std::string(100, 'y'));
    auto why = by_name(letters[0].headers);
    BOOST_TEST(why["__streams.errors.exception"] == "produce_error");
    BOOST_TEST(contains(why["__streams.errors.message"], "text-out"));
    BOOST_TEST(contains(why["__streams.errors.message"], "kafka.message.max.bytes"));
  }
  // With another policy of the same source that lets records go, the output still fails the task.
  TestDriver driver{wide({.on_error = ErrorPolicy::kSkip}), {.message_bytes_max = 1000}};
  const auto text = failure([&] { driver.input(texts).pipe("k", std::string(100, 'y')); });
  BOOST_TEST(contains(text, "on_produce_error"), text);
  BOOST_TEST(driver.records("text-out").empty());
}

BOOST_AUTO_TEST_CASE(a_dead_letter_that_is_too_large_goes_without_the_value_then_without_the_key) {
  const ErrorContext error{ErrorKind::kProcess,
                           {"numbers", 3, 17},
                           from_millis(5),
                           "key",
                           "value",
                           "0_3",
                           "op",
                           "text",
                           1,
                           ErrorPolicy::kFail};
  const auto whole = dead_letter(error, "app", {{"own", "1"}}, 10'000);
  const std::size_t bytes = record_bytes(whole.key, whole.value, whole.headers);
  BOOST_TEST(*whole.value == "value");
  BOOST_TEST((whole.headers.front() == Header{"own", "1"}));

  const auto cut = dead_letter(error, "app", {{"own", "1"}}, bytes - 1);
  BOOST_TEST(!cut.value.has_value());
  BOOST_TEST(*cut.key == "key");
  BOOST_TEST(by_name(cut.headers).at("millrace.error.value_bytes") == "5");
  const auto least = dead_letter(error, "app", {{"own", "1"}}, 10);
  BOOST_TEST(!least.key.has_value());
  BOOST_TEST(!by_name(least.headers).contains("own"));
  BOOST_TEST(by_name(least.headers).at("__streams.errors.offset") == "17");
}

// What this library takes for small enough librdkafka does too; a queue needs no broker.
BOOST_AUTO_TEST_CASE(librdkafka_takes_every_record_that_is_not_too_large) {
  Config config;
  config.application_id = "app";
  config.bootstrap_servers = "127.0.0.1:1";
  config.kafka["message.max.bytes"] = "2000";
  const auto producer = std::move(*Producer::create(config, {}));
  const auto topic = *producer->topic("out");
  const auto send = [&](std::size_t bytes, const Headers& headers) {
    const std::size_t rest = bytes - record_bytes("key", "", headers);
    Producer::Headers converted;
    for (const auto& header : headers) converted.emplace_back(header.name, header.value);
    return producer->produce(topic, 0, "key", std::string(rest, 'x'), {}, &converted, nullptr);
  };
  Headers many;
  for (int i = 0; i < 40; ++i) many.push_back({"h" + std::to_string(i), "v"});
  BOOST_TEST(send(2000, {}).ok());
  BOOST_TEST(send(2000, {{"name", "value"}, {"null", std::nullopt}}).ok());
  BOOST_TEST(send(2000, many).ok());
  BOOST_TEST((send(2000 + 64, {}).code() == Code::kInvalidArgument));
}

// --- Handlers ---

BOOST_AUTO_TEST_CASE(an_error_handler_sees_the_record_and_decides) {
  std::vector<std::string> seen;
  const ErrorHandler handler = [&](const ErrorContext& error) {
    seen.push_back(std::string{to_string(error.kind)} + ' ' + to_string(error.origin) + ' ' +
                   std::string{*error.key} + ' ' + std::string{error.task_id} + ' ' +
                   std::string{error.operator_name} + ' ' + std::to_string(error.attempts) + ' ' +
                   std::string{to_string(error.policy)});
    if (error.kind == ErrorKind::kDecode) return ErrorPolicy::kSkip;
    return error.key == "keep" ? ErrorPolicy::kDeadLetter : error.policy;
  };
  TestDriver driver{sums(failing(2)), {.error_handler = handler}};
  auto input = driver.input(numbers);
  input.pipe_bytes("k", "bad");
  input.pipe("keep", 2);
  BOOST_TEST(driver.records("test-dead-letter").size() == 1U);
  BOOST_TEST(contains(failure([&] { input.pipe("k", 2); }), "numbers-0@2"));
  BOOST_TEST((seen == std::vector<std::string>{
                          "decode_error numbers-0@0 k 0_0 KSTREAM-SOURCE-0000000000 1 fail",
                          "user_error numbers-0@1 keep 0_0 KSTREAM-REDUCE-0000000001 1 fail",
                          "user_error numbers-0@2 k 0_0 KSTREAM-REDUCE-0000000001 1 fail"}));
}

BOOST_AUTO_TEST_CASE(an_error_handler_that_throws_fails_the_task) {
  TestDriver driver{sums(failing(2), {.on_error = ErrorPolicy::kSkip}),
                    {.error_handler = [](const ErrorContext&) -> ErrorPolicy {
                      throw std::runtime_error("no idea");
                    }}};
  const auto text = failure([&] { driver.input(numbers).pipe("k", 2); });
  BOOST_TEST(contains(text, "numbers-0@0"), text);
  BOOST_TEST(contains(text, "not 2"), text);
  BOOST_TEST(contains(text, "the error handler threw: no idea"), text);
}

// --- Behind tables ---

// A table hands on at commits, when no record is in hand.
Topology behind_a_table(SourceOptions options) {
  Topology topology;
  topology.stream(numbers, std::move(options))
      .group_by_key()
      .count("counts")
      .to_stream()
      .map_values([](std::int64_t count) {
        if (count == 2) throw std::runtime_error("two");
        return count;
      })
      .to(out);
  return topology;
}

BOOST_AUTO_TEST_CASE(a_tables_change_that_fails_operators_behind_it_goes_no_further) {
  for (const auto policy : {ErrorPolicy::kFail, ErrorPolicy::kSkip, ErrorPolicy::kDeadLetter}) {
    TestDriver driver{behind_a_table({.on_error = policy})};
    auto input = driver.input(numbers);
    input.pipe("a", 1);
    const auto text = failure([&] { input.pipe("a", 1, from_millis(20)); });
    if (policy == ErrorPolicy::kFail) {
      BOOST_TEST(contains(text, "table"), text);
      BOOST_TEST(contains(text, "two"), text);
      continue;
    }
    BOOST_TEST(text == "no failure");
    input.pipe("a", 1);
    input.pipe("b", 1);
    std::vector<std::string> written;
    for (const auto& record : driver.output(out).read_all()) {
      written.push_back(*record.key + std::to_string(*record.value));
    }
    BOOST_TEST((written == std::vector<std::string>{"a1", "a3", "b1"}));
    BOOST_TEST((*driver.store<std::string, std::int64_t>("counts").get("a") == 3));
    BOOST_TEST(dropped(driver, "user_error") == "1");
    if (policy == ErrorPolicy::kSkip) continue;
    const auto letters = driver.records("test-dead-letter");
    BOOST_REQUIRE(letters.size() == 1U);
    BOOST_TEST(*letters[0].key == "a");
    BOOST_TEST(*letters[0].value == bytes_of(2));
    BOOST_TEST(to_millis(letters[0].timestamp) == 20);
    BOOST_TEST(by_name(letters[0].headers)["__streams.errors.topic"].starts_with("KSTREAM-"));
  }
}

// The kind says what comes next: another start of the task, or the end of the App.
BOOST_AUTO_TEST_CASE(what_fails_behind_a_table_fails_the_commit_with_its_own_kind) {
  const auto commit_of = [](TaskHarness& task, std::size_t records) {
    BOOST_REQUIRE(task.start().ok());
    for (std::size_t i = 0; i < records; ++i) task.append("numbers", "a", bytes_of(1));
    BOOST_REQUIRE(*task.process(records) == records);
    return task.commit();
  };
  {
    TaskHarness task{behind_a_table({.on_error = ErrorPolicy::kDeadLetter})};
    task.settings.errors.dead_letter_topic = "letters";
    task.log.create_topic("letters", 1);
    task.sink.refuse("letters", Status::unavailable("the queue is full"));
    const Status status = commit_of(task, 2);
    BOOST_TEST((status.code() == Code::kUnavailable), status.to_string());
    BOOST_TEST(contains(status.message(), "handing on a table's changes"), status.message());
    BOOST_TEST(contains(status.message(), "letters-0"), status.message());
    BOOST_TEST(contains(status.message(), "the queue is full"), status.message());
  }
  {
    // As for a record: no restart makes it smaller.
    TaskHarness task{behind_a_table({.on_error = ErrorPolicy::kSkip})};
    task.settings.message_bytes_max = 10;
    const Status status = commit_of(task, 1);
    BOOST_TEST((status.code() == Code::kInvalidArgument), status.to_string());
    BOOST_TEST(contains(status.message(), "on_produce_error"), status.message());
  }
}

// --- Bounds and names ---

BOOST_AUTO_TEST_CASE(a_flood_of_bad_records_is_logged_in_few_lines_and_counted) {
  TaskHarness task{sums(failing(2))};
  task.settings.errors.on_decode_error = ErrorPolicy::kSkip;
  std::vector<std::string> lines;
  task.settings.log = [&](LogLevel, const std::string& line) { lines.push_back(line); };
  BOOST_REQUIRE(task.start().ok());
  for (int i = 0; i < 1000; ++i) task.append("numbers", "k", "bad");
  BOOST_TEST(*task.process(1000) == 1000U);
  BOOST_TEST(lines.size() == LogLimit::kLinesMax);
  BOOST_TEST(contains(lines[0], "numbers-0@0"), lines[0]);
  BOOST_TEST(contains(lines[0], "; skipped"), lines[0]);
  task.clock.advance(LogLimit::kSpan);
  task.task->maintain();
  BOOST_REQUIRE(lines.size() == LogLimit::kLinesMax + 1);
  BOOST_TEST(contains(lines.back(), "990 more"), lines.back());
  BOOST_TEST(metric(task.registry->text(), "reason=\"decode_error\"") == "1000");
}

BOOST_AUTO_TEST_CASE(dead_letters_go_to_topics_that_hold_nothing_else_of_the_application) {
  ErrorRules rules;
  rules.on_error = ErrorPolicy::kDeadLetter;
  rules.dead_letter_topic = "app-dead-letter";
  const auto topics = [&](SourceOptions options) {
    const auto topology = sums(failing(2), std::move(options));
    return dead_letter_topics(*topology.graph(), rules, "app");
  };
  BOOST_TEST((topics({}) ==
              std::map<std::string, std::vector<std::string>>{{"app-dead-letter", {"numbers"}}}));
  BOOST_TEST(topics({.on_error = ErrorPolicy::kSkip}).empty());
  BOOST_TEST(topics({.dead_letter_topic = "other"}).contains("other"));
  const auto refused = [&](const std::string& name) {
    return failure([&] { static_cast<void>(topics({.dead_letter_topic = name})); });
  };
  BOOST_TEST(contains(refused("numbers"), "its own dead letters"));
  BOOST_TEST(contains(refused("app-sums-changelog"), "store 'sums'"));
  BOOST_TEST(contains(refused("not a name"), "no name of a topic"));
  BOOST_TEST(contains(refused(std::string(250, 'x')), "no name of a topic"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
