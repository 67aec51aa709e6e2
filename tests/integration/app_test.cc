// SPDX-License-Identifier: Apache-2.0
//
// The App as a program uses it: its states, its stores read by many threads, its exit codes.
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <thread>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {

// Both sides grow with each record: a reader that sees them differ has seen half a change.
struct Pair {
  std::int64_t left = 0;
  std::int64_t right = 0;
};

}  // namespace millrace::testing

template <>
struct millrace::Serde<millrace::testing::Pair> {
  static void encode(const testing::Pair& value, std::string& out) {
    Serde<std::int64_t>::encode(value.left, out);
    Serde<std::int64_t>::encode(value.right, out);
  }
  static Result<testing::Pair> decode(std::string_view bytes) {
    if (bytes.size() != 16) return Status::invalid_argument("a pair has 16 bytes");
    return testing::Pair{*Serde<std::int64_t>::decode(bytes.substr(0, 8)),
                         *Serde<std::int64_t>::decode(bytes.substr(8))};
  }
};

namespace millrace::testing {
namespace {

using std::chrono::seconds;

BOOST_AUTO_TEST_SUITE(app)

// KF-43
BOOST_AUTO_TEST_CASE(an_app_runs_once_and_stopping_is_idempotent) {
  CountJob job{2};
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  BOOST_TEST((app.state() == AppState::kCreated));
  BOOST_TEST(app.check().empty());
  app.stop();  // Not started: nothing to do.
  app.start();
  BOOST_CHECK_THROW(app.start(), ConfigError);
  BOOST_TEST(app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_TEST((app.state() == AppState::kRunning));
  app.stop();
  BOOST_TEST((app.state() == AppState::kStopped));
  app.stop();
  BOOST_TEST((app.state() == AppState::kStopped));
  BOOST_TEST(app.error() == "");
  // What cannot come any more is not waited for.
  const auto began = std::chrono::steady_clock::now();
  BOOST_TEST(!app.wait_for(AppState::kRunning, seconds{60}));
  BOOST_CHECK(std::chrono::steady_clock::now() - began < seconds{30});
  BOOST_CHECK_THROW(app.start(), ConfigError);
  for (const std::string_view step :
       {"CREATED -> REBALANCING", "-> RUNNING", "RUNNING -> PENDING_SHUTDOWN",
        "PENDING_SHUTDOWN -> STOPPED"}) {
    BOOST_TEST(log.text().find(step) != std::string::npos, step << " in " << log.text());
  }
}

BOOST_AUTO_TEST_CASE(an_app_that_was_never_started_or_could_not_start_is_destroyed_quietly) {
  CountJob job{1};
  LogLines log;
  { App app{count_topology(job), count_config(job, "one", log)}; }
  auto config = count_config(job, "one", log);
  config.commit_interval = std::chrono::milliseconds{0};
  App app{count_topology(job), config};
  BOOST_CHECK_THROW(app.start(), ConfigError);
}

// KF-8
BOOST_AUTO_TEST_CASE(stores_answer_by_name_and_type_while_the_app_runs_and_not_after) {
  CountJob job{3};
  job.produce(300, 30);
  LogLines log;
  App app{count_topology(job), count_config(job, "one", log)};
  BOOST_CHECK_THROW(static_cast<void>(app.store<std::string, std::int64_t>("nothing")),
                    UnknownStoreError);
  BOOST_CHECK_THROW(static_cast<void>(app.store<std::string, std::string>("counts")),
                    StoreTypeError);
  const auto counts = app.store<std::string, std::int64_t>("counts");
  BOOST_CHECK_THROW(static_cast<void>(counts.get("key-1")), NotReadyError);
  app.start();
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_TEST(counts.get("key-1").value_or(0) == 10);
  BOOST_TEST(!counts.get("absent").has_value());
  BOOST_TEST(counts.all().size() == 30U);
  BOOST_TEST(counts.range("key-1", "key-12").size() == 4U);  // key-1, key-10, key-11, key-12.
  app.stop();
  BOOST_CHECK_THROW(static_cast<void>(counts.get("key-1")), NotReadyError);
  BOOST_CHECK_THROW(static_cast<void>(counts.all()), NotReadyError);
  BOOST_TEST((counts.try_get("key-1").error().code() == Code::kCancelled));
  try {
    static_cast<void>(counts.get("key-1"));
  } catch (const NotReadyError& error) {
    BOOST_TEST((error.reason == NotReadyReason::kStopped));
  }
}

// KF-9: a reader never sees half of what one record changed, and a value never goes back.
BOOST_AUTO_TEST_CASE(readers_in_many_threads_never_see_half_a_record) {
  constexpr int kReaders = 4;
  constexpr int kKeys = 8;
  CountJob job{2};
  Topology topology;
  topology.stream(Topic<std::string, std::string>{job.input})
      .reduce<Pair>("counts", [](const auto&, std::optional<Pair> pair, auto&) {
        Pair next = pair.value_or(Pair{});
        ++next.left;
        ++next.right;
        return next;
      });
  LogLines log;
  App app{topology, count_config(job, "one", log)};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  Traffic traffic{job, 20'000, kKeys};
  std::atomic<bool> stopping{false};
  std::atomic<std::int64_t> reads{0};
  std::atomic<std::int64_t> wrong{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < kReaders; ++r) {
    readers.emplace_back([&, r] {
      const auto pairs = app.store<std::string, Pair>("counts");
      std::map<std::string, std::int64_t> newest;
      const auto look = [&](const std::string& key, const Pair& pair) {
        if (pair.left != pair.right || pair.left < newest[key]) ++wrong;
        newest[key] = pair.left;
        ++reads;
      };
      while (!stopping) {
        if (r % 2 == 0) {
          const std::string key = "key-" + std::to_string(reads % kKeys);
          const auto pair = pairs.try_get(key);
          if (!pair) {
            ++wrong;
          } else if (*pair) {
            look(key, **pair);
          }
        } else {
          for (const auto& entry : pairs.all()) look(entry.key, entry.value);
        }
      }
    });
  }
  const bool enough =
      wait_until([&] { return reads > 20'000 && wrong == 0; }, seconds{15}) || reads > 1'000;
  const std::int64_t written = traffic.stop();
  const bool processed = job.wait_until_processed();
  stopping = true;
  for (auto& reader : readers) reader.join();
  BOOST_TEST(enough);
  BOOST_TEST(processed);
  BOOST_TEST(wrong == 0);
  std::int64_t sum = 0;
  for (const auto& entry : app.store<std::string, Pair>("counts").all()) sum += entry.value.left;
  BOOST_TEST(sum == written);
  BOOST_TEST_MESSAGE(reads << " reads during " << written << " records");
}

// Says in `log` from which partition each record is, and counts.
Topology telling_topology(const CountJob& job, LogLines& log) {
  class Tell final : public Processor<std::string, std::string, std::string, std::int64_t> {
   public:
    explicit Tell(LogLines* log) : log_(log) {}
    void process(const Record<std::string, std::string>& record, Context& context) override {
      log_->add("processed task 0_" + std::to_string(context.partition()));
      auto counts = context.store<std::string, std::int64_t>("counts");
      counts.put(record.key(), counts.get(record.key()).value_or(0) + 1);
    }

   private:
    LogLines* log_;
  };
  Topology topology;
  topology.store<std::string, std::int64_t>("counts");
  topology.stream(Topic<std::string, std::string>{job.input})
      .process<Tell>(connects("counts"), {}, &log);
  return topology;
}

// KF-28, KS-18: each restores what it is assigned and nothing else, and processes nothing before.
BOOST_AUTO_TEST_CASE(each_member_restores_and_serves_its_own_partitions_only) {
  CountJob job{4};
  job.produce(2'000, 200);
  LogLines log;
  App first{count_topology(job), count_config(job, "first", log)};
  first.start();
  BOOST_REQUIRE(job.wait_until_processed());
  BOOST_TEST(stored_counts(first).size() == 200U);
  LogLines seconds_log;
  App second{telling_topology(job, seconds_log), count_config(job, "second", seconds_log)};
  Traffic traffic{job, 1'000, 200};
  second.start();
  const auto counts_of = [](App& app) {
    try {
      return stored_counts(app);
    } catch (const NotReadyError&) {
      return Counts{};
    }
  };
  BOOST_TEST_REQUIRE(
      wait_until([&] { return occurrences(seconds_log.text(), "processed task ") > 0; },
                 seconds{40}),
      log.text());
  traffic.stop();
  BOOST_REQUIRE(job.wait_until_processed());
  Counts left;
  Counts right;
  BOOST_REQUIRE(wait_until(
      [&] {
        left = counts_of(first);
        right = counts_of(second);
        return !right.empty() && left.size() + right.size() == 200;
      },
      seconds{40}));
  for (const auto& [key, count] : right) {
    BOOST_TEST(!left.contains(key));
    BOOST_CHECK_EXCEPTION(
        static_cast<void>(first.store<std::string, std::int64_t>("counts").get(key)), NotReadyError,
        [](const NotReadyError& error) { return error.reason == NotReadyReason::kMoved; });
  }
  left.merge(right);
  BOOST_TEST(difference(job.expected, left) == "");
  const std::string text = seconds_log.text();
  std::size_t restored = 0;
  for (int p = 0; p < 4; ++p) {
    const std::string task = "task 0_" + std::to_string(p);
    const auto synced = text.find(task + ": store counts restored");
    restored += synced != std::string::npos ? 1 : 0;
    if (const auto first_record = text.find("processed " + task); first_record != text.npos)
      BOOST_TEST(synced < first_record, text);
  }
  BOOST_TEST(static_cast<double>(restored) ==
             metric(second.metrics_text(), "millrace_tasks{state=\"RUNNING\"}").value_or(-1));
  second.stop();
  BOOST_TEST(wait_until([&] { return counts_of(first).size() == 200; }, seconds{40}));
  BOOST_TEST(difference(job.expected, stored_counts(first)) == "");
}

// The exit codes of run(): 0 stopped, 1 failed, 2 bad configuration or topology.
BOOST_AUTO_TEST_CASE(run_says_by_its_exit_code_how_it_ended) {
  CountJob job{1};
  for (const int signal : {SIGTERM, SIGINT}) {
    auto process = job.start("one");
    BOOST_REQUIRE(process->wait_for_log("-> RUNNING", seconds{30}));
    process->signal(signal);
    BOOST_TEST(process->wait(seconds{30}).value_or(-1) == 0);
  }
  auto unknown = job.start("one", {{"MILLRACE_COMIT_INTERVAL_MS", "100"}});
  BOOST_TEST(unknown->wait(seconds{30}).value_or(-1) == 2);
  BOOST_TEST(unknown->log().find("MILLRACE_COMMIT_INTERVAL_MS") != std::string::npos, *unknown);
  auto too_slow = job.start(
      "one", {{"MILLRACE_GUARANTEE", "exactly_once"}, {"MILLRACE_COMMIT_INTERVAL_MS", "60000"}});
  BOOST_TEST(too_slow->wait(seconds{30}).value_or(-1) == 2, *too_slow);
  auto no_topic = job.start("one", {{"INPUT_TOPIC", job.application + "-not-there"}});
  BOOST_TEST(no_topic->wait(seconds{60}).value_or(-1) == 1);
}

// KF-7, faults.md F18
BOOST_AUTO_TEST_CASE(a_second_process_on_the_same_state_directory_is_refused) {
  CountJob job{1};
  auto first = job.start("same");
  BOOST_REQUIRE(first->wait_for_log("-> RUNNING", seconds{30}));
  auto second = job.start("same");
  BOOST_TEST(second->wait(seconds{30}).value_or(0) == 1);
  BOOST_TEST(second->log().find(job.state_dir("same").string()) != std::string::npos, *second);
  BOOST_TEST(second->log().find(std::to_string(first->pid())) != std::string::npos, *second);
  job.produce(100, 10);
  BOOST_TEST(job.wait_until_processed());
  BOOST_TEST(first->stop().value_or(-1) == 0);
  BOOST_TEST(job.error_in_changelog() == "");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
