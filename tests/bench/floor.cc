// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/floor.h"

#include <cstddef>
#include <map>
#include <span>
#include <vector>

#include "millrace/error.h"
#include "runtime/kafka/handles.h"
#include "tests/bench/interrupt.h"

namespace millrace::bench {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::size_t kBatch = 10'000;
constexpr int kPollMs = 20;
constexpr int kRoomMs = 50;
constexpr std::chrono::seconds kSilenceMax{30};
constexpr int kFlushMs = 60'000;

[[noreturn]] void fail(const std::string& what) { throw StatusError(Status::unavailable(what)); }

void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* failures) {
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) ++*static_cast<std::int64_t*>(failures);
}

// The properties are those of the peers' harness, so that its floor and this one compare.
ClientPtr make_client(const Options& options, rd_kafka_type_t type, std::int64_t& failures) {
  std::map<std::string, std::string> properties{{"bootstrap.servers", options.bootstrap}};
  if (type == RD_KAFKA_CONSUMER) {
    // A queue over its limits is looked at a second later only: keep both out of the way.
    properties.insert({{"group.id", options.application_id},
                       {"enable.auto.commit", "false"},
                       {"queued.min.messages", "10000000"},
                       {"queued.max.messages.kbytes", "1048576"}});
  } else {
    properties.insert({{"partitioner", "murmur2_random"},
                       {"enable.idempotence", "true"},
                       {"linger.ms", "5"},
                       {"batch.num.messages", "100000"},
                       {"batch.size", "65536"},
                       {"queue.buffering.max.messages", "500000"},
                       {"queue.buffering.max.kbytes", "524288"}});
  }
  char error[512];
  ConfPtr conf{rd_kafka_conf_new()};
  for (const auto& [name, value] : properties) {
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), error, sizeof error) !=
        RD_KAFKA_CONF_OK) {
      fail(error);
    }
  }
  rd_kafka_conf_set_opaque(conf.get(), &failures);
  if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf.get(), &on_delivery);
  ClientPtr client{rd_kafka_new(type, conf.get(), error, sizeof error)};
  if (!client) fail(error);
  static_cast<void>(conf.release());  // The client's now.
  return client;
}

void assign_all(rd_kafka_t* consumer, const std::string& topic) {
  const TopicPtr handle{rd_kafka_topic_new(consumer, topic.c_str(), nullptr)};
  const rd_kafka_metadata_t* answer = nullptr;
  constexpr int kTimeoutMs = 10'000;
  if (const auto error = rd_kafka_metadata(consumer, 0, handle.get(), &answer, kTimeoutMs)) {
    fail(rd_kafka_err2str(error));
  }
  const MetadataPtr metadata{answer};
  const PartitionListPtr list{rd_kafka_topic_partition_list_new(4)};
  for (int partition = 0; partition < metadata->topics[0].partition_cnt; ++partition) {
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
  }
  if (const auto error = rd_kafka_assign(consumer, list.get())) fail(rd_kafka_err2str(error));
}

void copy(rd_kafka_t* producer, rd_kafka_topic_t* topic, const rd_kafka_message_t& message) {
  while (true) {
    const auto error = rd_kafka_producev(
        producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY(message.key, message.key_len),
        RD_KAFKA_V_VALUE(message.payload, message.len),
        RD_KAFKA_V_TIMESTAMP(rd_kafka_message_timestamp(&message, nullptr)),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) fail(rd_kafka_err2str(error));
    rd_kafka_poll(producer, kRoomMs);
  }
}

}  // namespace

Measurement run_floor(const Options& options) {
  const bool copies = options.workload == "floor-copy";
  const auto begin = Steady::now();
  std::int64_t failures = 0;
  const ClientPtr consumer = make_client(options, RD_KAFKA_CONSUMER, failures);
  const ClientPtr producer =
      copies ? make_client(options, RD_KAFKA_PRODUCER, failures) : ClientPtr{};
  const TopicPtr output{copies ? rd_kafka_topic_new(producer.get(), options.output.c_str(), nullptr)
                               : nullptr};
  rd_kafka_poll_set_consumer(consumer.get());
  assign_all(consumer.get(), options.input);
  const QueuePtr queue{rd_kafka_queue_get_consumer(consumer.get())};

  Measurement measured;
  Quarters quarters{options.records};
  std::vector<rd_kafka_message_t*> batch(kBatch);
  auto heard = begin;
  while (measured.records < options.records) {
    throw_if_interrupted();
    const auto count =
        rd_kafka_consume_batch_queue(queue.get(), kPollMs, batch.data(), batch.size());
    for (auto* message : std::span{batch}.first(static_cast<std::size_t>(count > 0 ? count : 0))) {
      const MessagePtr owned{message};
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
      ++measured.records;
      if (copies) copy(producer.get(), output.get(), *message);
    }
    if (copies) rd_kafka_poll(producer.get(), 0);
    const auto now = Steady::now();
    if (count > 0) heard = now;
    if (now - heard > kSilenceMax) {
      fail("only " + std::to_string(measured.records) + " records came from " + options.input);
    }
    quarters.seen(measured.records);
  }
  if (copies && rd_kafka_flush(producer.get(), kFlushMs) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    fail("the copies were not acknowledged within a minute");
  }
  if (failures > 0) fail(std::to_string(failures) + " copies were refused");
  measured.wall = Steady::now() - begin;
  measured.cpu_s = cpu_seconds();
  measured.cpu_s_per_million_by_quarter = quarters.per_million();
  return measured;
}

}  // namespace millrace::bench
