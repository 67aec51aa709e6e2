// SPDX-License-Identifier: Apache-2.0
#include "tests/support/kafka_client.h"

#include <array>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>

#include "runtime/kafka/error_map.h"
#include "tests/support/process.h"

namespace millrace::testing {
namespace {

constexpr std::chrono::seconds kTimeout{30};
constexpr int kTimeoutMs = 30'000;
// A broker that was killed is replaced when its session of 9 s has ended and somebody was elected:
// 30 s were seen on a busy machine.
constexpr std::chrono::seconds kLeaderlessMax{90};
// librdkafka 2.0 keeps a question for the broker that it was meant for, also if that is gone. What
// is asked anew goes to another one.
constexpr std::chrono::milliseconds kAnswerTimeout{3'000};
constexpr int kAnswerTimeoutMs = 3'000;
// Writing goes on when a broker that was killed is back.
constexpr int kFlushTimeoutMs = 120'000;
constexpr std::size_t kBatch = 4096;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("test client: " + what);
}

void check(rd_kafka_resp_err_t error, const std::string& what) {
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) fail(what + ": " + rd_kafka_err2str(error));
}

void check(const Status& status) {
  if (!status.ok()) fail(status.to_string());
}

void check(rd_kafka_error_t* error, const std::string& what) {
  const KafkaErrorPtr owned{error};
  if (owned) fail(what + ": " + rd_kafka_error_string(owned.get()));
}

// A broker that has just started or woken up, or a partition that was just created, looks for its
// leaders and coordinators first; so does one whose leader was killed.
void answered(const std::string& what, const std::function<rd_kafka_resp_err_t()>& ask) {
  const auto deadline = std::chrono::steady_clock::now() + kLeaderlessMax;
  for (;;) {
    const auto error = ask();
    const bool passing = kafka_code(error) == Code::kUnavailable || is_unknown_topic(error);
    if (!passing || std::chrono::steady_clock::now() > deadline) return check(error, what);
  }
}

using Properties = std::initializer_list<std::pair<const char*, std::string>>;

ConfPtr configuration(const Properties& properties) {
  ConfPtr conf{rd_kafka_conf_new()};
  std::array<char, 512> text{};
  for (const auto& [name, value] : properties) {
    if (rd_kafka_conf_set(conf.get(), name, value.c_str(), text.data(), text.size()) !=
        RD_KAFKA_CONF_OK) {
      fail(text.data());
    }
  }
  rd_kafka_conf_set_log_cb(conf.get(), nullptr);
  return conf;
}

ClientPtr make_client(rd_kafka_type_t type, ConfPtr conf) {
  std::array<char, 512> text{};
  ClientPtr client{rd_kafka_new(type, conf.get(), text.data(), text.size())};
  if (!client) fail(text.data());
  static_cast<void>(conf.release());
  return client;
}

PartitionListPtr all_partitions(const std::string& topic, std::int32_t count) {
  PartitionListPtr list{rd_kafka_topic_partition_list_new(count)};
  for (std::int32_t i = 0; i < count; ++i) {
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), i)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
  }
  return list;
}

std::optional<std::string> bytes(const void* data, std::size_t size) {
  if (data == nullptr) return std::nullopt;
  return std::string{static_cast<const char*>(data), size};
}

StoredRecord stored(const rd_kafka_message_t& message) {
  StoredRecord record;
  record.partition = message.partition;
  record.offset = message.offset;
  record.key = bytes(message.key, message.key_len);
  record.value = bytes(message.payload, message.len);
  record.timestamp = rd_kafka_message_timestamp(&message, nullptr);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
      record.headers.emplace_back(name, bytes(value, size).value_or(""));
    }
  }
  return record;
}

}  // namespace

std::string shared_broker() {
  const char* address = std::getenv("MILLRACE_TEST_KAFKA");
  if (address == nullptr)
    fail("MILLRACE_TEST_KAFKA=HOST:PORT is not set; ./dev test integration sets it");
  return address;
}

KafkaClientForTests::KafkaClientForTests(std::string address) : address_(std::move(address)) {
  Config config;
  config.application_id = "test-client";
  config.bootstrap_servers = address_;
  auto admin = create_admin(config, {});
  if (!admin) fail(admin.error().to_string());
  admin_ = *std::move(admin);
}

void KafkaClientForTests::create_topic(const std::string& topic, std::int32_t partitions,
                                       const std::map<std::string, std::string>& configs,
                                       std::int32_t replication) {
  const auto created = admin_->create_topic({topic, partitions, replication, configs}, kTimeout);
  if (!created) fail(created.error().to_string());
  if (!wait_until([&] { return this->partitions(topic) == partitions; }, kTimeout))
    fail(topic + " does not appear");
}

void KafkaClientForTests::delete_topics(const std::vector<std::string>& topics) {
  check(admin_->delete_topics(topics, kTimeout));
}

void KafkaClientForTests::administer(
    const std::string& what, rd_kafka_admin_op_t operation,
    const std::function<void(const rd_kafka_AdminOptions_t*, rd_kafka_queue_t*)>& ask) {
  const std::unique_ptr<rd_kafka_AdminOptions_t, decltype(&rd_kafka_AdminOptions_destroy)> options{
      rd_kafka_AdminOptions_new(producer(), operation), &rd_kafka_AdminOptions_destroy};
  const QueuePtr queue{rd_kafka_queue_new(producer())};
  ask(options.get(), queue.get());
  const EventPtr event{rd_kafka_queue_poll(queue.get(), kTimeoutMs)};
  if (!event) fail(what + ": no answer");
  check(rd_kafka_event_error(event.get()), what);
}

void KafkaClientForTests::delete_records(const std::string& topic) {
  const auto ends = this->ends(topic);
  const auto list = all_partitions(topic, static_cast<std::int32_t>(ends.size()));
  for (int i = 0; i < list->cnt; ++i)
    list->elems[i].offset = ends.at(static_cast<std::size_t>(list->elems[i].partition)).high;
  rd_kafka_DeleteRecords_t* wanted = rd_kafka_DeleteRecords_new(list.get());
  administer("delete records of " + topic, RD_KAFKA_ADMIN_OP_DELETERECORDS,
             [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
               rd_kafka_DeleteRecords(producer(), &wanted, 1, options, queue);
             });
  rd_kafka_DeleteRecords_destroy(wanted);
}

void KafkaClientForTests::add_partitions(const std::string& topic, std::int32_t count) {
  std::array<char, 512> text{};
  rd_kafka_NewPartitions_t* wanted = rd_kafka_NewPartitions_new(
      topic.c_str(), static_cast<std::size_t>(count), text.data(), text.size());
  if (wanted == nullptr) fail(text.data());
  administer("add partitions to " + topic, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS,
             [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
               rd_kafka_CreatePartitions(producer(), &wanted, 1, options, queue);
             });
  rd_kafka_NewPartitions_destroy(wanted);
  if (!wait_until([&] { return this->partitions(topic) == count; }, kTimeout))
    fail(topic + " does not get its partitions");
}

std::map<std::string, std::string> KafkaClientForTests::configs(const std::string& topic) {
  auto configs = admin_->topic_configs(topic, kTimeout);
  if (!configs) fail(configs.error().to_string());
  return *std::move(configs);
}

std::int32_t KafkaClientForTests::partitions(const std::string& topic) {
  std::int32_t partitions = 0;
  Status why;
  const auto ask = [&] {
    const auto count = admin_->partition_count(topic, kAnswerTimeout);
    if (count) partitions = count->value_or(0);
    why = count ? Status{} : count.error();
    return why.code() != Code::kUnavailable;
  };
  static_cast<void>(wait_until(ask, kTimeout));
  check(why);
  return partitions;
}

std::vector<PartitionPlace> KafkaClientForTests::places(const std::string& topic) {
  return places(topic, producer());
}

std::vector<PartitionPlace> KafkaClientForTests::places(const std::string& topic,
                                                        rd_kafka_t* client) {
  const TopicPtr handle{rd_kafka_topic_new(client, topic.c_str(), nullptr)};
  const rd_kafka_metadata_t* raw = nullptr;
  const bool answered = wait_until(
      [&] {
        return rd_kafka_metadata(client, 0, handle.get(), &raw, kAnswerTimeoutMs) ==
               RD_KAFKA_RESP_ERR_NO_ERROR;
      },
      kTimeout);
  if (!answered) return {};
  const MetadataPtr metadata{raw};
  std::vector<PartitionPlace> places;
  const auto& found = metadata->topics[0];
  for (int i = 0; i < found.partition_cnt; ++i) {
    const auto& from = found.partitions[i];
    if (const auto at = static_cast<std::size_t>(from.id); places.size() <= at)
      places.resize(at + 1);
    places[static_cast<std::size_t>(from.id)] = {from.leader,
                                                 {from.replicas, from.replicas + from.replica_cnt},
                                                 {from.isrs, from.isrs + from.isr_cnt}};
  }
  return places;
}

rd_kafka_t* KafkaClientForTests::producer() {
  if (producer_) return producer_.get();
  auto conf = configuration({{"bootstrap.servers", address_},
                             {"enable.idempotence", "true"},
                             {"partitioner", "murmur2_random"},
                             {"queue.buffering.max.messages", "1000000"},
                             {"message.max.bytes", "4000000"},
                             {"linger.ms", "5"}});
  rd_kafka_conf_set_opaque(conf.get(), this);
  rd_kafka_conf_set_dr_msg_cb(conf.get(),
                              [](rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
                                if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
                                auto& self = *static_cast<KafkaClientForTests*>(opaque);
                                ++self.failed_;
                                self.last_failure_ = rd_kafka_err2str(message->err);
                              });
  producer_ = make_client(RD_KAFKA_PRODUCER, std::move(conf));
  return producer_.get();
}

void KafkaClientForTests::send(rd_kafka_t* client, const std::string& topic,
                               const std::vector<NewRecord>& records) {
  for (const auto& record : records) {
    // A size of 0 with a pointer is an empty key or value, without one it is null.
    const char* const key = record.key ? record.key->data() : nullptr;
    const std::size_t key_size = record.key ? record.key->size() : 0;
    char* const value = record.value ? const_cast<char*>(record.value->data()) : nullptr;
    const std::size_t value_size = record.value ? record.value->size() : 0;
    rd_kafka_headers_t* headers = rd_kafka_headers_new(record.headers.size());
    for (const auto& [name, text] : record.headers) {
      rd_kafka_header_add(headers, name.c_str(), -1, text.data(),
                          static_cast<ssize_t>(text.size()));
    }
    for (;;) {
      const auto error = rd_kafka_producev(
          client, RD_KAFKA_V_TOPIC(topic.c_str()),
          RD_KAFKA_V_PARTITION(record.partition.value_or(RD_KAFKA_PARTITION_UA)),
          RD_KAFKA_V_KEY(key, key_size), RD_KAFKA_V_VALUE(value, value_size),
          RD_KAFKA_V_TIMESTAMP(record.timestamp.value_or(0)), RD_KAFKA_V_HEADERS(headers),
          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
      if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_poll(client, 10);
        continue;
      }
      check(error, "cannot produce to " + topic);
      break;
    }
  }
  check(rd_kafka_flush(client, kFlushTimeoutMs), "cannot flush to " + topic);
  if (failed_ > 0) fail(std::to_string(failed_) + " records not written: " + last_failure_);
}

void KafkaClientForTests::produce(const std::string& topic, const std::vector<NewRecord>& records) {
  send(producer(), topic, records);
}

void KafkaClientForTests::produce_transaction(const std::string& topic,
                                              const std::vector<NewRecord>& records,
                                              Outcome outcome) {
  const auto client =
      make_client(RD_KAFKA_PRODUCER, configuration({{"bootstrap.servers", address_},
                                                    {"transactional.id", unique_name("test")},
                                                    {"partitioner", "murmur2_random"}}));
  check(rd_kafka_init_transactions(client.get(), kTimeoutMs), "init_transactions");
  check(rd_kafka_begin_transaction(client.get()), "begin_transaction");
  send(client.get(), topic, records);
  if (outcome == Outcome::kCommit) {
    check(rd_kafka_commit_transaction(client.get(), kTimeoutMs), "commit_transaction");
  } else {
    check(rd_kafka_abort_transaction(client.get(), kTimeoutMs), "abort_transaction");
  }
}

std::vector<PartitionEnds> KafkaClientForTests::ends(const std::string& topic) {
  return ends(topic, producer());
}

std::vector<PartitionEnds> KafkaClientForTests::stable_ends(const std::string& topic) {
  const auto client = make_client(
      RD_KAFKA_CONSUMER,
      configuration({{"bootstrap.servers", address_}, {"isolation.level", "read_committed"}}));
  return ends(topic, client.get());
}

// rd_kafka_query_watermark_offsets of librdkafka before 2.3 waits for a broker that is down for as
// long as that takes, whatever time it was given.
std::vector<PartitionEnds> KafkaClientForTests::ends(const std::string& topic, rd_kafka_t* client) {
  const auto count = partitions(topic);
  const auto offsets_at = [&](std::int64_t time) {
    PartitionListPtr list;
    answered("ends of " + topic, [&] {
      list = all_partitions(topic, count);
      for (int i = 0; i < count; ++i) list->elems[i].offset = time;
      auto error = rd_kafka_offsets_for_times(client, list.get(), kAnswerTimeoutMs);
      for (int i = 0; i < count && error == RD_KAFKA_RESP_ERR_NO_ERROR; ++i)
        error = list->elems[i].err;
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR) static_cast<void>(places(topic, client));
      return error;
    });
    return list;
  };
  std::vector<PartitionEnds> ends(static_cast<std::size_t>(count));
  if (ends.empty()) return ends;
  const auto lows = offsets_at(RD_KAFKA_OFFSET_BEGINNING);
  const auto highs = offsets_at(RD_KAFKA_OFFSET_END);
  for (int i = 0; i < count; ++i) {
    ends.at(static_cast<std::size_t>(lows->elems[i].partition)).low = lows->elems[i].offset;
    ends.at(static_cast<std::size_t>(highs->elems[i].partition)).high = highs->elems[i].offset;
  }
  return ends;
}

void KafkaClientForTests::read(const std::string& topic,
                               const std::function<void(const StoredRecord&)>& see) {
  const auto client =
      make_client(RD_KAFKA_CONSUMER, configuration({{"bootstrap.servers", address_},
                                                    {"group.id", unique_name("test-reader")},
                                                    {"isolation.level", "read_committed"},
                                                    {"enable.auto.commit", "false"},
                                                    {"enable.partition.eof", "true"},
                                                    {"fetch.wait.max.ms", "10"},
                                                    {"check.crcs", "true"}}));
  const auto count = partitions(topic);
  check(rd_kafka_assign(client.get(), all_partitions(topic, count).get()), "assign " + topic);
  const QueuePtr queue{rd_kafka_queue_get_consumer(client.get())};
  std::vector<rd_kafka_message_t*> messages(kBatch);
  std::vector<bool> at_end(static_cast<std::size_t>(count));
  std::int32_t ended = 0;
  const auto deadline = std::chrono::steady_clock::now() + 2 * kTimeout;
  while (ended < count) {
    if (std::chrono::steady_clock::now() > deadline) fail(topic + " has no end");
    const auto got =
        rd_kafka_consume_batch_queue(queue.get(), 200, messages.data(), messages.size());
    for (ssize_t i = 0; i < got; ++i) {
      const MessagePtr message{messages[static_cast<std::size_t>(i)]};
      if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        see(stored(*message));
      } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF &&
                 !at_end[static_cast<std::size_t>(message->partition)]) {
        at_end[static_cast<std::size_t>(message->partition)] = true;
        ++ended;
      }
    }
  }
}

std::vector<StoredRecord> KafkaClientForTests::read_all(const std::string& topic) {
  std::vector<StoredRecord> records;
  read(topic, [&](const StoredRecord& record) { records.push_back(record); });
  return records;
}

std::map<std::string, std::string> KafkaClientForTests::table(const std::string& topic) {
  std::map<std::string, std::string> table;
  read(topic, [&](const StoredRecord& record) {
    if (!record.key) return;
    if (record.value) {
      table[*record.key] = *record.value;
    } else {
      table.erase(*record.key);
    }
  });
  return table;
}

std::map<std::string, std::int64_t> KafkaClientForTests::counts(const std::string& topic) {
  std::map<std::string, std::int64_t> counts;
  for (const auto& [key, value] : table(topic)) counts[key] = from_big_endian(value);
  return counts;
}

std::vector<GroupOffset> KafkaClientForTests::committed(const std::string& group,
                                                        const std::string& topic) {
  const auto client = make_client(
      RD_KAFKA_CONSUMER,
      configuration(
          {{"bootstrap.servers", address_}, {"group.id", group}, {"enable.auto.commit", "false"}}));
  const auto count = partitions(topic);
  const auto list = all_partitions(topic, count);
  answered("committed offsets of " + group,
           [&] { return rd_kafka_committed(client.get(), list.get(), kTimeoutMs); });
  std::vector<GroupOffset> offsets(static_cast<std::size_t>(count));
  for (int i = 0; i < list->cnt; ++i) {
    const auto& element = list->elems[i];
    check(element.err, "committed offset of " + group);
    auto& offset = offsets.at(static_cast<std::size_t>(element.partition));
    if (element.offset >= 0) offset.offset = element.offset;
    offset.metadata = bytes(element.metadata, element.metadata_size).value_or("");
  }
  return offsets;
}

void KafkaClientForTests::commit(const std::string& group, const std::string& topic,
                                 std::int32_t partition, const GroupOffset& offset) {
  const auto client = make_client(
      RD_KAFKA_CONSUMER,
      configuration(
          {{"bootstrap.servers", address_}, {"group.id", group}, {"enable.auto.commit", "false"}}));
  const PartitionListPtr list{rd_kafka_topic_partition_list_new(1)};
  auto* element = rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition);
  element->offset = offset.offset.value();
  if (!offset.metadata.empty()) {
    element->metadata = std::malloc(offset.metadata.size());  // Freed by librdkafka.
    offset.metadata.copy(static_cast<char*>(element->metadata), offset.metadata.size());
    element->metadata_size = offset.metadata.size();
  }
  check(rd_kafka_commit(client.get(), list.get(), 0), "commit for " + group);
  check(list->elems[0].err, "commit for " + group);
}

std::string big_endian(std::int64_t value) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i)
    bytes[i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (56 - 8 * i));
  return bytes;
}

std::int64_t from_big_endian(const std::string& bytes) {
  if (bytes.size() != 8) fail("a count has " + std::to_string(bytes.size()) + " bytes");
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return static_cast<std::int64_t>(value);
}

}  // namespace millrace::testing
