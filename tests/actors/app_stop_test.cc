// SPDX-License-Identifier: Apache-2.0
#include "millrace/millrace.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <future>
#include <memory>
#include <thread>

#include "runtime/kafka/embedded_broker.h"
#include "runtime/kafka/producer.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

constexpr std::int16_t kOffsetFetch = 9;

// Counts words by an embedded broker.
struct WordCount {
  WordCount() {
    kafka->create_topic("words", 2);
    config.application_id = "count";
    config.bootstrap_servers = kafka->bootstrap_servers();
    config.state_dir = directory.path();
    topology.stream(Topic<std::string, std::string>{"words"}).group_by_key().count("counts");
  }

  const TemporaryDirectory directory;
  const std::shared_ptr<EmbeddedKafka> kafka = std::make_shared<EmbeddedKafka>();
  Config config;
  Topology topology;
};

BOOST_FIXTURE_TEST_SUITE(app_stop, WordCount)

// A revocation waits for its tasks to close, and so does a stop. A task whose commit point is still
// being read has nothing open.
BOOST_AUTO_TEST_CASE(an_app_ends_while_its_commit_points_cannot_be_read) {
  App app{topology, config, kafka};
  // Enough for minutes.
  for (int i = 0; i < 3000; ++i) {
    rd_kafka_mock_push_request_errors(kafka->broker().mock(), kOffsetFetch, 1,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
  }
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRestoring, seconds{30}));
  const auto stopped = std::async(std::launch::async, [&] { app.stop(); });
  BOOST_TEST(app.wait_for(AppState::kStopped, seconds{30}));
}

// The session ends while the tasks wait for a commit that cannot come: the group's news of it finds
// an app that is being stopped.
BOOST_AUTO_TEST_CASE(an_app_ends_when_it_is_stopped_without_a_broker_and_with_work_in_hand) {
  config.commit_interval = std::chrono::minutes{10};
  config.kafka = {{"session.timeout.ms", "6000"}, {"heartbeat.interval.ms", "1000"}};
  App app{topology, config, kafka};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  {
    const auto producer = std::move(*Producer::create(config, {}));
    const auto tracker = producer->new_tracker();
    const auto topic = *producer->topic("words");
    BOOST_REQUIRE(producer->produce(topic, 0, "a", "1", {}, nullptr, tracker.get()).ok());
    BOOST_REQUIRE(producer->await(*tracker, seconds{30}).ok());
  }
  const auto counts = app.store<std::string, std::int64_t>("counts");
  while (!counts.get("a")) std::this_thread::yield();
  rd_kafka_mock_broker_set_down(kafka->broker().mock(), 1);
  const auto stopped = std::async(std::launch::async, [&] { app.stop(); });
  BOOST_TEST((stopped.wait_for(seconds{60}) == std::future_status::ready));
  // Whatever was wrong, the test ends.
  rd_kafka_mock_broker_set_up(kafka->broker().mock(), 1);
}

// F19. In a process of its own, which does not come back from run().
BOOST_AUTO_TEST_CASE(a_process_whose_user_function_hangs_ends_after_its_time_to_stop) {
  int answer[2];
  BOOST_REQUIRE(::pipe(answer) == 0);
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(answer[1], STDERR_FILENO);
    EmbeddedKafka its_kafka;
    its_kafka.create_topic("words", 1);
    config.bootstrap_servers = its_kafka.bootstrap_servers();
    config.shutdown_timeout = std::chrono::milliseconds{100};
    config.log.level = LogLevel::kOff;
    Topology hanging;
    hanging.stream(Topic<std::string, std::string>{"words"}).peek([](const auto&) {
      ::kill(::getpid(), SIGTERM);
      for (;;) ::pause();
    });
    const auto producer = std::move(*Producer::create(config, {}));
    const auto tracker = producer->new_tracker();
    static_cast<void>(
        producer->produce(*producer->topic("words"), 0, "a", "1", {}, nullptr, tracker.get()));
    static_cast<void>(producer->await(*tracker, seconds{30}));
    App{hanging, config}.run();
    std::_Exit(42);
  }
  ::close(answer[1]);
  std::string said;
  char piece[256];
  for (ssize_t count = 0; (count = ::read(answer[0], piece, sizeof piece)) > 0;)
    said.append(piece, static_cast<std::size_t>(count));
  ::close(answer[0]);
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 1), said);
  BOOST_TEST(said.find("did not stop in time, the process ends without it") != std::string::npos,
             said);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
