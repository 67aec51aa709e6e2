// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/changelog_consumer.h"

#include <librdkafka/rdkafka_mock.h>

#include <boost/test/unit_test.hpp>
#include <memory>

#include "runtime/kafka/embedded_broker.h"
#include "runtime/kafka/producer.h"
#include "runtime/withdrawn_version.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 20s;  // Never reached unless something is broken.

// A changelog with three records, led by broker 2 of three.
struct Changelog {
  Changelog() {
    config.application_id = "bank";
    config.bootstrap_servers = brokers->bootstrap_servers();
    BOOST_REQUIRE(brokers->create_topic(where.topic, 1).ok());
    lead(2);
    const auto writer = *Producer::create(config, {});
    const auto topic = *writer->topic(where.topic);
    const auto written = writer->new_tracker();
    for (int i = 0; i < 3; ++i) {
      const Producer::Headers headers{{i == 1 ? kWithdrawnHeader : "of another program", ""}};
      BOOST_REQUIRE(writer
                        ->produce(topic, 0, "key", "value", from_millis(i),
                                  i == 0 ? nullptr : &headers, written.get())
                        .ok());
    }
    BOOST_REQUIRE(writer->await(*written, kPatience).ok());
    reader = *ChangelogConsumer::create(config, {}, [this] { return cancelled; });
  }

  void lead(int broker) const {
    rd_kafka_mock_partition_set_leader(brokers->mock(), where.topic.c_str(), where.partition,
                                       broker);
  }

  std::unique_ptr<EmbeddedBroker> brokers = *EmbeddedBroker::start(3);
  const TopicPartition where{"bank-accounts-changelog", 0};
  Config config;
  bool cancelled = false;
  std::unique_ptr<ChangelogConsumer> reader;
};

BOOST_FIXTURE_TEST_SUITE(kafka_changelog_consumer, Changelog)

// KF-26: a client that was told who leads the changelog believes it, until it asks again.
BOOST_AUTO_TEST_CASE(the_ends_are_told_by_the_new_leader_when_the_old_one_is_down) {
  BOOST_REQUIRE(reader->ends(where));
  rd_kafka_mock_broker_set_down(brokers->mock(), 2);
  lead(3);
  const auto ends = reader->ends(where);
  BOOST_REQUIRE(ends);
  BOOST_TEST(ends->start == 0);
  BOOST_TEST(ends->end == 3);
  const auto now = reader->ends_now(where);
  BOOST_REQUIRE(now);
  BOOST_TEST(now->end == 3);
}

// B12
BOOST_AUTO_TEST_CASE(a_record_with_the_header_of_a_withdrawal_is_one) {
  std::vector<bool> withdrawn;
  const auto status = reader->read(where, 0, 3, [&](std::span<const LogRecord> records) -> Status {
    for (const auto& record : records) withdrawn.push_back(record.withdrawn);
    return {};
  });
  BOOST_REQUIRE(status.ok());
  BOOST_TEST((withdrawn == std::vector<bool>{false, true, false}));
}

BOOST_AUTO_TEST_CASE(a_look_at_the_lag_finds_the_new_leader_for_the_next_one) {
  BOOST_REQUIRE(reader->ends_within({where}, kPatience));
  rd_kafka_mock_broker_set_down(brokers->mock(), 2);
  lead(3);
  const auto in_vain = reader->ends_within({where}, 1s);
  BOOST_REQUIRE(!in_vain);
  BOOST_TEST((in_vain.error().code() == Code::kUnavailable));
  const auto ends = reader->ends_within({where}, kPatience);
  BOOST_REQUIRE(ends);
  BOOST_TEST(ends->front() == 3);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace
