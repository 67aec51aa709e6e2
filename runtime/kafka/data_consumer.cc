// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/data_consumer.h"

#include <algorithm>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/kafka/error_map.h"
#include "runtime/kafka/kafka_batch.h"

namespace millrace {
namespace {

PartitionListPtr list_of(const TopicPartition& partition, std::int64_t offset) {
  PartitionListPtr list{rd_kafka_topic_partition_list_new(1)};
  rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)
      ->offset = offset;
  return list;
}

// Errors that librdkafka recovers from by itself and reports in passing.
bool is_passing(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
         (kafka_code(error) == Code::kUnavailable && !is_damaged(error));
}

}  // namespace

InputPartition::InputPartition(rd_kafka_t* consumer, TopicPartition partition, std::int64_t offset,
                               std::function<void()> wake)
    : consumer_(consumer),
      partition_(std::move(partition)),
      position_(offset),
      passed_(offset),
      wake_(std::move(wake)) {}

InputPartition::~InputPartition() {
  if (queue_) rd_kafka_queue_cb_event_enable(queue_.get(), nullptr, nullptr);
  if (assigned_) {
    const KafkaErrorPtr error{
        rd_kafka_incremental_unassign(consumer_, list_of(partition_, 0).get())};
  }
}

Result<std::unique_ptr<Batch>> InputPartition::take(std::size_t records_max) {
  std::vector<rd_kafka_message_t*> messages(records_max);
  const auto count = rd_kafka_consume_batch_queue(queue_.get(), 0, messages.data(), records_max);
  messages.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  Status failure;
  std::erase_if(messages, [&](rd_kafka_message_t* message) {
    // A message below the position is a leftover of an earlier fetch: librdkafka promises none, we
    // do not rely on it.
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && message->offset >= position_ &&
        failure.ok()) {
      position_ = message->offset + 1;
      return false;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && !is_passing(message->err) && failure.ok()) {
      failure = kafka_status_of_known_topic(
          message->err, "cannot read " + to_string(partition_) + "@" + std::to_string(position_),
          rd_kafka_message_errstr(message), {Access::on_topic("Read", partition_.topic)});
    }
    rd_kafka_message_destroy(message);
    return true;
  });
  // An offset that is out of range: the task's next start looks what is there.
  if (failure.code() == Code::kCorruption) failure = Status::unavailable(failure.message());
  if (!failure.ok()) {
    for (rd_kafka_message_t* message : messages) rd_kafka_message_destroy(message);
    return failure;
  }
  if (messages.empty()) {
    pass_over_markers();
    return std::unique_ptr<Batch>{};
  }
  return std::unique_ptr<Batch>{std::make_unique<KafkaBatch>(std::move(messages))};
}

// Where a transaction ends lies a marker that is no record. librdkafka takes it from the queue by
// itself, and moves its own position over it and over the aborted records before it.
//
// For a moment after an opening that position may be that of an earlier one: good enough for what
// is asked again at each turn, not for what may be dropped.
void InputPartition::pass_over_markers() {
  const auto list = list_of(partition_, RD_KAFKA_OFFSET_INVALID);
  if (rd_kafka_position(consumer_, list.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  const auto& found = list->elems[0];
  passed_ = found.err == RD_KAFKA_RESP_ERR_NO_ERROR ? std::max(found.offset, position_) : position_;
}

std::int64_t InputPartition::lag() const {
  std::int64_t low = 0;
  std::int64_t high = 0;
  const auto error = rd_kafka_get_watermark_offsets(consumer_, partition_.topic.c_str(),
                                                    partition_.partition, &low, &high);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR || high < 0) return -1;
  return std::max<std::int64_t>(high - std::max(position_, passed_), 0);
}

// librdkafka 2.0.2 loses a reference to a partition whose topic is deleted while it is read, and
// its end then waits for that for ever.
DataConsumer::~DataConsumer() {
  client_.context().silence();  // It may outlive what it logs to.
  std::promise<void> ended;
  auto end = ended.get_future();
  std::thread destroyer{[client = std::move(client_), ended = std::move(ended)]() mutable {
    client.reset();
    ended.set_value();
  }};
  if (end.wait_for(kDestroyMax) == std::future_status::ready) {
    destroyer.join();
    return;
  }
  static std::mutex mutex;
  static auto* const left = new std::vector<std::thread>;  // Not destroyed at the end either.
  const std::lock_guard lock{mutex};
  left->push_back(std::move(destroyer));
}

Result<std::unique_ptr<DataConsumer>> DataConsumer::create(const Config& config, KafkaLog log) {
  ClientOptions options;
  options.role = ClientRole::kData;
  options.log = std::move(log);
  auto client = create_client(config, std::move(options));
  if (!client) return client.error();
  return std::unique_ptr<DataConsumer>{new DataConsumer(*std::move(client))};
}

Result<std::unique_ptr<InputPartition>> DataConsumer::open(TopicPartition partition,
                                                           std::int64_t offset,
                                                           std::function<void()> wake) {
  std::unique_ptr<InputPartition> input{
      new InputPartition(client_.get(), std::move(partition), offset, std::move(wake))};
  const TopicPartition& where = input->partition_;
  // Taken out of the consumer's queue before the assignment: afterwards records could already be on
  // their way there.
  input->queue_.reset(
      rd_kafka_queue_get_partition(client_.get(), where.topic.c_str(), where.partition));
  if (!input->queue_) return Status::internal("no queue for " + to_string(where));
  rd_kafka_queue_forward(input->queue_.get(), nullptr);
  rd_kafka_queue_cb_event_enable(
      input->queue_.get(),
      [](rd_kafka_t*, void* opaque) { static_cast<InputPartition*>(opaque)->wake_(); },
      input.get());
  const KafkaErrorPtr error{
      rd_kafka_incremental_assign(client_.get(), list_of(where, offset).get())};
  if (auto status = kafka_status(error.get(), "cannot read " + to_string(where)); !status.ok())
    return status;
  input->assigned_ = true;
  return input;
}

void DataConsumer::poll() {
  if (rd_kafka_message_t* message = rd_kafka_consumer_poll(client_.get(), 0))
    rd_kafka_message_destroy(message);
}

}  // namespace millrace
