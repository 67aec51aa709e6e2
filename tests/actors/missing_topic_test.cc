// SPDX-License-Identifier: Apache-2.0
//
// A broker that does not know, for a while, a topic that was there.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <mutex>
#include <string>

#include "millrace/millrace.h"
#include "runtime/kafka/embedded_broker.h"
#include "runtime/kafka/producer.h"
#include "tests/stores/engine_model.h"
#include "tests/support/process.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

constexpr seconds kPatience{60};  // Never reached unless something is broken.

// Counts words by an embedded broker, looks for changes of its topics each second, and keeps its
// log.
struct CuriousWordCount {
  CuriousWordCount() {
    kafka->create_topic("words", 1);
    config.application_id = "count";
    config.bootstrap_servers = kafka->bootstrap_servers();
    config.state_dir = directory.path();
    config.commit_interval = std::chrono::milliseconds{100};
    config.task_restart_backoff = std::chrono::milliseconds{50};
    config.kafka = {{"topic.metadata.refresh.interval.ms", "1000"}};
    config.log = {LogLevel::kInfo, [this](LogLevel, std::string_view line) {
                    const std::lock_guard lock{mutex};
                    log += std::string{line} + '\n';
                  }};
    topology.stream(Topic<std::string, std::string>{"words"}).group_by_key().count("counts");
  }

  void produce() {
    Config own;
    own.application_id = "words";
    own.bootstrap_servers = kafka->bootstrap_servers();
    own.log.level = LogLevel::kOff;
    const auto producer = std::move(*Producer::create(own, {}));
    const auto tracker = producer->new_tracker();
    const auto topic = *producer->topic("words");
    BOOST_REQUIRE(producer->produce(topic, 0, "a", "1", {}, nullptr, tracker.get()).ok());
    BOOST_REQUIRE(producer->await(*tracker, seconds{30}).ok());
  }

  bool said(const std::string& text) {
    const std::lock_guard lock{mutex};
    return log.find(text) != std::string::npos;
  }

  void answer_for_words(rd_kafka_resp_err_t error) {
    rd_kafka_mock_topic_set_error(kafka->broker().mock(), "words", error);
  }

  std::mutex mutex;
  std::string log;
  const TemporaryDirectory directory;
  const std::shared_ptr<EmbeddedKafka> kafka = std::make_shared<EmbeddedKafka>();
  Config config;
  Topology topology;
};

BOOST_FIXTURE_TEST_SUITE(missing_topic, CuriousWordCount)

BOOST_AUTO_TEST_CASE(a_topic_that_a_broker_does_not_know_for_a_while_ends_nothing) {
  App app{topology, config, kafka};
  app.start();
  BOOST_REQUIRE_MESSAGE(app.wait_for(AppState::kRunning, seconds{30}), log);
  produce();
  answer_for_words(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  BOOST_TEST(wait_until([&] { return said("; looking for it"); }, kPatience), log);
  answer_for_words(RD_KAFKA_RESP_ERR_NO_ERROR);
  produce();
  const auto count = [&]() -> std::int64_t {
    try {
      return app.store<std::string, std::int64_t>("counts").get("a").value_or(0);
    } catch (const NotReadyError&) {
      return 0;
    }
  };
  BOOST_TEST(wait_until([&] { return count() == 2; }, kPatience), log);
  BOOST_TEST(app.error() == "");
  app.stop();
  BOOST_TEST((app.state() == AppState::kStopped), app.error());
}

BOOST_AUTO_TEST_CASE(a_topic_that_stays_unknown_ends_the_app_by_its_name) {
  App app{topology, config, kafka};
  app.start();
  BOOST_REQUIRE_MESSAGE(app.wait_for(AppState::kRunning, seconds{30}), log);
  answer_for_words(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  BOOST_TEST(wait_until([&] { return app.state() == AppState::kError; }, kPatience), log);
  BOOST_TEST(app.error().find("words") != std::string::npos, app.error());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
