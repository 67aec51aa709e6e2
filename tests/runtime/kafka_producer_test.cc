// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/producer.h"

#include <librdkafka/rdkafka_mock.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/kafka/admin.h"
#include "runtime/kafka/embedded_broker.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 20s;  // Never reached unless something is broken.
constexpr std::int16_t kProduceRequest = 0;

// One broker for all tests, since stopping it may take a second; each test has a topic of its own.
struct EmbeddedCluster {
  EmbeddedCluster() {
    static const std::unique_ptr<EmbeddedBroker> shared = [] {
      auto started = EmbeddedBroker::start();
      BOOST_REQUIRE(started);
      return std::move(*started);
    }();
    static int tests = 0;
    broker = shared.get();
    orders = "orders" + std::to_string(++tests);
    config.application_id = "bank";
    config.bootstrap_servers = broker->bootstrap_servers();
    BOOST_REQUIRE(broker->create_topic(orders, 3).ok());
  }

  std::unique_ptr<Producer> producer() const {
    auto created = Producer::create(config, {});
    BOOST_REQUIRE(created);
    return std::move(*created);
  }

  EmbeddedBroker* broker = nullptr;
  std::string orders;
  Config config;
};

struct ReadBack {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::int64_t timestamp = 0;
  Producer::Headers headers;
};

// Reads `count` records of partition 1 from its start.
std::vector<ReadBack> read(const Config& config, const std::string& topic, std::size_t count) {
  ClientOptions options;
  options.role = ClientRole::kData;
  auto client = create_client(config, std::move(options));
  BOOST_REQUIRE(client);
  const PartitionListPtr list{rd_kafka_topic_partition_list_new(1)};
  rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), 1)->offset = 0;
  rd_kafka_assign(client->get(), list.get());
  std::vector<ReadBack> records;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (records.size() < count && std::chrono::steady_clock::now() < deadline) {
    const MessagePtr message{rd_kafka_consumer_poll(client->get(), 100)};
    if (!message || message->err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    ReadBack record;
    if (message->key != nullptr) {
      record.key.emplace(static_cast<const char*>(message->key), message->key_len);
    }
    if (message->payload != nullptr) {
      record.value.emplace(static_cast<const char*>(message->payload), message->len);
    }
    record.timestamp = rd_kafka_message_timestamp(message.get(), nullptr);
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(message.get(), &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
      const char* name = nullptr;
      const void* value = nullptr;
      std::size_t size = 0;
      for (std::size_t i = 0;
           rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
           ++i) {
        record.headers.emplace_back(name, std::nullopt);
        if (value != nullptr) {
          record.headers.back().second.emplace(static_cast<const char*>(value), size);
        }
      }
    }
    records.push_back(std::move(record));
  }
  return records;
}

BOOST_FIXTURE_TEST_SUITE(kafka_producer, EmbeddedCluster)

BOOST_AUTO_TEST_CASE(a_tracker_knows_when_all_is_acknowledged_and_where) {
  const auto writer = producer();
  const auto topic = *writer->topic(orders);
  BOOST_TEST(writer->warm_metadata({topic}, kPatience).ok());
  const auto tracker = writer->new_tracker();
  BOOST_TEST(tracker->done());
  BOOST_TEST(tracker->contiguous_from(17));  // Nothing was written, so nothing is missing.
  constexpr int kRecords = 10'000;
  for (int i = 0; i < kRecords; ++i) {
    BOOST_REQUIRE(
        writer->produce(topic, 1, "key", "value", from_millis(i), nullptr, tracker.get()).ok());
  }
  BOOST_TEST(writer->await(*tracker, kPatience).ok());
  BOOST_TEST(tracker->done());
  BOOST_TEST(tracker->produced() == kRecords);
  BOOST_TEST(tracker->reported() == kRecords);
  BOOST_TEST(tracker->offset_min() == 0);
  BOOST_TEST(tracker->offset_max() == kRecords - 1);
  BOOST_TEST(tracker->contiguous_from(0));
  BOOST_TEST(!tracker->contiguous_from(1));

  tracker->reset();
  BOOST_TEST(tracker->produced() == 0);
  BOOST_TEST(tracker->offset_max() == -1);
}

// Two writers on one partition: each one's offsets have holes, and the tracker sees them.
BOOST_AUTO_TEST_CASE(foreign_records_between_ours_are_a_gap) {
  const auto ours = producer();
  const auto theirs = producer();
  const auto tracker = ours->new_tracker();
  const auto topic = *ours->topic(orders);
  for (int i = 0; i < 2; ++i) {
    BOOST_REQUIRE(ours->produce(topic, 1, "a", "1", from_millis(1), nullptr, tracker.get()).ok());
    BOOST_REQUIRE(ours->await(*tracker, kPatience).ok());
    if (i == 1) break;
    BOOST_REQUIRE(theirs->produce(*theirs->topic(orders), 1, "b", "1", from_millis(1)).ok());
    BOOST_REQUIRE(theirs->flush(kPatience).ok());
  }
  BOOST_TEST(tracker->offset_min() == 0);
  BOOST_TEST(tracker->offset_max() == 2);
  BOOST_TEST(!tracker->contiguous_from(0));
}

BOOST_AUTO_TEST_CASE(records_arrive_as_they_were_given) {
  const auto writer = producer();
  const auto topic = *writer->topic(orders);
  const Producer::Headers headers{{"trace", "abc"}, {"none", std::nullopt}, {"trace", ""}};
  BOOST_REQUIRE(writer->produce(topic, 1, "k", "v", from_millis(1234), &headers).ok());
  BOOST_REQUIRE(writer->produce(topic, 1, std::nullopt, std::nullopt, from_millis(5)).ok());
  BOOST_REQUIRE(
      writer->produce(topic, 1, std::string_view{}, std::string_view{}, from_millis(6)).ok());
  // librdkafka would write the present for 0.
  BOOST_REQUIRE(writer->produce(topic, 1, "k", "v", from_millis(0)).ok());
  BOOST_REQUIRE(writer->flush(kPatience).ok());

  const auto records = read(config, orders, 4);
  BOOST_REQUIRE(records.size() == 4U);
  BOOST_TEST(records[0].key.value() == "k");
  BOOST_TEST(records[0].value.value() == "v");
  BOOST_TEST(records[0].timestamp == 1234);
  BOOST_TEST((records[0].headers == headers));
  BOOST_TEST(!records[1].key.has_value());
  BOOST_TEST(!records[1].value.has_value());
  BOOST_TEST(records[2].key.value() == "");
  BOOST_TEST(records[2].value.value() == "");
  BOOST_TEST(records[3].timestamp == 1);
}

BOOST_AUTO_TEST_CASE(topics_have_one_id_each) {
  const auto writer = producer();
  const auto id = *writer->topic(orders);
  BOOST_TEST((*writer->topic(orders) == id));
  BOOST_TEST(!(*writer->topic("payments") == id));
  BOOST_TEST(writer->name(id) == orders);
  BOOST_TEST(*writer->partition_count(orders, kPatience) == 3);
  const auto bad = writer->topic("");
  BOOST_REQUIRE(!bad);
  BOOST_TEST((bad.error().code() == Code::kInvalidArgument));
}

BOOST_AUTO_TEST_CASE(a_refused_record_is_named_and_does_not_count) {
  const auto writer = producer();
  const auto topic = *writer->topic(orders);
  BOOST_REQUIRE(writer->warm_metadata({topic}, kPatience).ok());
  const auto tracker = writer->new_tracker();
  const std::string large(2'000'000, 'x');
  const Producer::Headers headers{{"a", "b"}};
  const Status too_large =
      writer->produce(topic, 1, "key", large, from_millis(1), &headers, tracker.get());
  BOOST_TEST((too_large.code() == Code::kInvalidArgument));
  BOOST_TEST(too_large.message().find("2000003 bytes to " + orders + "-1") != std::string::npos);
  const Status nowhere =
      writer->produce(topic, 9, "key", "v", from_millis(1), &headers, tracker.get());
  BOOST_TEST((nowhere.code() == Code::kInvalidArgument));
  BOOST_TEST(nowhere.message().find(orders + "-9") != std::string::npos);
  BOOST_TEST(tracker->produced() == 0);
  BOOST_TEST(tracker->done());
}

// What the broker refuses reaches the tracker with topic-partition and size.
BOOST_AUTO_TEST_CASE(a_failed_delivery_is_the_trackers_status) {
  const auto writer = producer();
  const auto topic = *writer->topic(orders);
  BOOST_REQUIRE(writer->warm_metadata({topic}, kPatience).ok());
  rd_kafka_mock_push_request_errors(broker->mock(), kProduceRequest, 1,
                                    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  const auto tracker = writer->new_tracker();
  BOOST_REQUIRE(
      writer->produce(topic, 2, "key", "value", from_millis(1), nullptr, tracker.get()).ok());
  const Status status = writer->await(*tracker, kPatience);
  BOOST_TEST((status.code() == Code::kInvalidArgument));
  BOOST_TEST(status.message().find("a record of 8 bytes to " + orders + "-2") != std::string::npos);
  BOOST_TEST(status.message().find("Write on topic " + orders) != std::string::npos);
  BOOST_TEST(tracker->done());
  BOOST_TEST(!tracker->contiguous_from(0));
}

// A tracker dropped with records in flight is written to until they are reported, then freed.
// (Under the address sanitizer this test says whether it lives long enough.)
BOOST_AUTO_TEST_CASE(late_reports_find_their_tracker_alive) {
  const auto writer = producer();
  const auto topic = *writer->topic(orders);
  for (int round = 0; round < 50; ++round) {
    const auto tracker = writer->new_tracker();
    for (int i = 0; i < 20; ++i) {
      BOOST_REQUIRE(
          writer->produce(topic, 1, "key", "value", from_millis(1), nullptr, tracker.get()).ok());
    }
  }
  BOOST_TEST(writer->flush(kPatience).ok());
  BOOST_TEST(writer->queued() == 0U);
}

BOOST_AUTO_TEST_CASE(a_closed_producer_leaves_no_tracker_waiting) {
  config.kafka["linger.ms"] = "60000";
  auto writer = producer();
  const auto tracker = writer->new_tracker();
  const auto topic = *writer->topic(orders);
  BOOST_REQUIRE(
      writer->produce(topic, 1, "key", "value", from_millis(1), nullptr, tracker.get()).ok());
  BOOST_TEST(!tracker->done());
  writer.reset();
  BOOST_TEST(tracker->done());
  BOOST_TEST((tracker->status().code() == Code::kCancelled));
}

BOOST_AUTO_TEST_CASE(a_full_queue_waits_until_interrupted) {
  config.kafka = {{"linger.ms", "60000"}, {"queue.buffering.max.messages", "10"}};
  const auto writer = producer();
  const auto topic = *writer->topic(orders);
  const auto tracker = writer->new_tracker();
  for (int i = 0; i < 10; ++i) {
    BOOST_REQUIRE(
        writer->produce(topic, 1, "key", "value", from_millis(1), nullptr, tracker.get()).ok());
  }
  Status status;  // Boost.Test's macros belong on the main thread.
  std::thread blocked{[&] {
    status = writer->produce(topic, 1, "key", "value", from_millis(1), nullptr, tracker.get());
  }};
  writer->interrupt();
  blocked.join();
  BOOST_TEST((status.code() == Code::kCancelled));
  BOOST_TEST(tracker->produced() == 10);
  BOOST_TEST((writer->await(*tracker, kPatience).code() == Code::kCancelled));
}

BOOST_AUTO_TEST_CASE(several_threads_may_write_and_serve) {
  const auto writer = producer();
  std::atomic<bool> stop = false;
  std::thread server{[&] {
    while (!stop) writer->poll(10ms);
  }};
  std::vector<std::thread> tasks;
  std::atomic<int> contiguous = 0;
  for (std::int32_t partition = 0; partition < 3; ++partition) {
    tasks.emplace_back([&, partition] {
      const auto topic = *writer->topic(orders);
      const auto tracker = writer->new_tracker();
      for (int i = 0; i < 3000; ++i) {
        (void)writer->produce(topic, partition, "key", "value", from_millis(1), nullptr,
                              tracker.get());
      }
      if (writer->await(*tracker, kPatience).ok() && tracker->contiguous_from(0)) ++contiguous;
    });
  }
  for (std::thread& task : tasks) task.join();
  stop = true;
  server.join();
  BOOST_TEST(contiguous == 3);
  BOOST_TEST(writer->fatal_error().ok());
}

// Exactly-once: whoever writes after one record was refused for good is not to blame.
BOOST_AUTO_TEST_CASE(a_transaction_that_has_failed_cancels_later_records) {
  auto created = Producer::create(config, {}, "bank-1");
  BOOST_REQUIRE(created);
  const auto writer = std::move(*created);
  const auto topic = *writer->topic(orders);
  BOOST_REQUIRE(writer->open(kPatience).ok());
  rd_kafka_mock_push_request_errors(broker->mock(), kProduceRequest, 1,
                                    RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  const auto refused = writer->new_tracker();
  BOOST_REQUIRE(writer->produce(topic, 1, "key", "v", from_millis(1), nullptr, refused.get()).ok());
  const Status cause = writer->await(*refused, kPatience);
  BOOST_TEST((cause.code() == Code::kInvalidArgument));
  BOOST_TEST(cause.message().find("MSG_SIZE_TOO_LARGE") != std::string::npos, cause.message());
  const auto later = writer->new_tracker();
  const Status status = writer->produce(topic, 2, "key", "v", from_millis(1), nullptr, later.get());
  BOOST_TEST((status.code() == Code::kCancelled), status.message());
  BOOST_TEST(status.message().find(orders + "-2") != std::string::npos, status.message());
}

// Large records fill the queue by their bytes long before it has its number of records. Whoever
// asks stays out of produce(), which would wait.
BOOST_AUTO_TEST_CASE(a_queue_is_half_full_by_bytes_or_by_records) {
  constexpr std::size_t kRecord = 1024;
  const std::string large(kRecord, 'x');
  config.kafka = {{"linger.ms", "60000"}, {"queue.buffering.max.kbytes", "256"}};
  const auto by_bytes = producer();
  const auto topic = *by_bytes->topic(orders);
  std::size_t queued = 0;
  while (queued < 1000 && !by_bytes->half_full()) {
    BOOST_REQUIRE(by_bytes->produce(topic, 1, {}, large, from_millis(1)).ok());
    ++queued;
  }
  BOOST_TEST(queued == 129U);
  BOOST_TEST(by_bytes->flush(kPatience).ok());
  BOOST_TEST(!by_bytes->half_full());
  // Nothing is left of what is dropped, or refused.
  rd_kafka_mock_broker_set_down(broker->mock(), 1);
  for (std::size_t i = 0; i < queued; ++i) {
    BOOST_REQUIRE(by_bytes->produce(topic, 1, {}, large, from_millis(1)).ok());
  }
  BOOST_TEST(by_bytes->half_full());
  BOOST_TEST(by_bytes->renew().ok());
  rd_kafka_mock_broker_set_up(broker->mock(), 1);
  BOOST_TEST(!by_bytes->half_full());
  BOOST_TEST(!by_bytes->produce(topic, 1, {}, std::string(2'000'000, 'x'), from_millis(1)).ok());
  BOOST_TEST(!by_bytes->half_full());

  config.kafka = {{"linger.ms", "60000"}, {"queue.buffering.max.messages", "100"}};
  const auto by_records = producer();
  BOOST_REQUIRE(by_records->topic(orders));
  for (int i = 0; i < 50; ++i) {
    BOOST_REQUIRE(by_records->produce(topic, 1, {}, "v", from_millis(1)).ok());
  }
  BOOST_TEST(!by_records->half_full());
  BOOST_REQUIRE(by_records->produce(topic, 1, {}, "v", from_millis(1)).ok());
  BOOST_TEST(by_records->half_full());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(kafka_admin, EmbeddedCluster)

BOOST_AUTO_TEST_CASE(the_embedded_broker_creates_and_lists_topics) {
  const auto created = broker->create_admin(config, {});
  BOOST_REQUIRE(created);
  TopicAdmin& admin = **created;
  BOOST_TEST(admin.ping(kPatience).ok());
  BOOST_TEST(!admin.cluster_id(kPatience)->empty());
  const TopicSpec changelog{"bank-accounts-changelog", 5, 1, {{"cleanup.policy", "compact"}}};
  BOOST_TEST((*admin.create_topic(changelog, kPatience) == TopicCreation::kCreated));
  BOOST_TEST((*admin.create_topic(changelog, kPatience) == TopicCreation::kAlreadyExists));
  const auto topics = *admin.topics(kPatience);
  BOOST_TEST(topics.at("bank-accounts-changelog") == 5);
  BOOST_TEST(topics.at(orders) == 3);
  BOOST_TEST(admin.partition_count(orders, kPatience)->value() == 3);
  BOOST_TEST(!admin.partition_count("nowhere", kPatience)->has_value());
  BOOST_TEST((*admin.topics(kPatience) == topics));  // Asking has created nothing.
  BOOST_TEST((*admin.topic_configs("bank-accounts-changelog", kPatience) == changelog.configs));
  BOOST_TEST((admin.delete_topics({orders}, kPatience).code() == Code::kInvalidArgument));
}

BOOST_AUTO_TEST_CASE(no_broker_is_unavailable_and_says_why) {
  config.bootstrap_servers = "127.0.0.1:1";
  const auto created = create_admin(config, {});
  BOOST_REQUIRE(created);
  const Status status = (*created)->ping(500ms);
  BOOST_TEST((status.code() == Code::kUnavailable));
  BOOST_TEST(status.message().find("127.0.0.1:1") != std::string::npos, status.message());
}

// What an owner that has lost its partitions had queued while no broker answered.
BOOST_AUTO_TEST_CASE(renewing_drops_what_is_queued_and_later_records_arrive) {
  const auto writer = producer();
  const auto topic = *writer->topic(orders);
  BOOST_TEST(writer->warm_metadata({topic}, kPatience).ok());
  rd_kafka_mock_broker_set_down(broker->mock(), 1);
  const auto before = writer->new_tracker();
  for (int i = 0; i < 10; ++i) {
    BOOST_REQUIRE(
        writer->produce(topic, 1, "key", "old", from_millis(i), nullptr, before.get()).ok());
  }
  BOOST_TEST(writer->renew().ok());
  BOOST_TEST(before->done());
  BOOST_TEST(!before->status().ok());
  rd_kafka_mock_broker_set_up(broker->mock(), 1);
  const auto after = writer->new_tracker();
  BOOST_TEST(writer->produce(topic, 1, "key", "new", from_millis(1), nullptr, after.get()).ok());
  BOOST_TEST(writer->await(*after, kPatience).ok());
  BOOST_TEST(after->offset_min() == 0);
  const auto records = read(config, orders, 1);
  BOOST_REQUIRE(records.size() == 1U);
  BOOST_TEST(*records[0].value == "new");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace
