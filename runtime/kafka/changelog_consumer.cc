// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/changelog_consumer.h"

#include <array>
#include <thread>
#include <vector>

#include "runtime/kafka/error_map.h"
#include "runtime/kafka/kafka_batch.h"
#include "runtime/withdrawn_version.h"

namespace millrace {
namespace {

// Asked again; a cancelled restore ends in between.
constexpr std::chrono::milliseconds kQueryTimeout{1'000};
constexpr int kDrainWaitMs = 10;  // Also how soon a cancelled restore stops.
constexpr std::chrono::milliseconds kStableEndPause{50};

bool is_withdrawn(const rd_kafka_message_t& message) {
  rd_kafka_headers_t* headers = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  return rd_kafka_message_headers(&message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
         rd_kafka_header_get_last(headers, kWithdrawnHeader, &value, &size) ==
             RD_KAFKA_RESP_ERR_NO_ERROR;
}

// librdkafka looks for the new leaders of what it reads and writes, but not of what is only asked
// about: without this it goes on asking a broker that is gone.
void look_for_leaders(rd_kafka_t* client, std::chrono::milliseconds timeout) {
  const rd_kafka_metadata_t* raw = nullptr;
  rd_kafka_metadata(client, 0, nullptr, &raw, static_cast<int>(timeout.count()));
  const MetadataPtr metadata{raw};
}

// `time`: RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END. In the order of `partitions`.
//
// Not rd_kafka_query_watermark_offsets, which before librdkafka 2.3 waits for a broker that is down
// for as long as that takes, whatever time it was given.
Result<std::vector<std::int64_t>> offsets_at(rd_kafka_t* client,
                                             const std::vector<TopicPartition>& partitions,
                                             std::int64_t time, std::chrono::milliseconds timeout) {
  const PartitionListPtr list{
      rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size()))};
  for (const auto& partition : partitions) {
    rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)
        ->offset = time;
  }
  const auto error =
      rd_kafka_offsets_for_times(client, list.get(), static_cast<int>(timeout.count()));
  auto status = kafka_status_of_known_topic(
      error, "cannot ask for the ends of " + to_string(partitions.front()), {},
      {Access::on_topic("Describe", partitions.front().topic)});
  std::vector<std::int64_t> offsets;
  for (const auto& partition : partitions) {
    const auto* found = rd_kafka_topic_partition_list_find(list.get(), partition.topic.c_str(),
                                                           partition.partition);
    if (status.ok()) {
      status = kafka_status_of_known_topic(found->err,
                                           "cannot ask for the ends of " + to_string(partition), {},
                                           {Access::on_topic("Describe", partition.topic)});
    }
    offsets.push_back(found->offset);
  }
  if (status.ok()) return offsets;
  if (status.code() == Code::kUnavailable) look_for_leaders(client, timeout);
  return status;
}

}  // namespace

Result<std::unique_ptr<ChangelogConsumer>> ChangelogConsumer::create(
    const Config& config, const KafkaLog& log, std::function<bool()> cancelled) {
  ClientOptions committed;
  committed.role = ClientRole::kRestore;
  committed.log = log;
  auto reader = create_client(config, std::move(committed));
  if (!reader) return reader.error();
  ClientOptions uncommitted;
  uncommitted.role = ClientRole::kAdmin;
  uncommitted.log = log;
  auto watermarks = create_client(config, std::move(uncommitted));
  if (!watermarks) return watermarks.error();
  return std::unique_ptr<ChangelogConsumer>{
      new ChangelogConsumer(*std::move(reader), *std::move(watermarks), std::move(cancelled))};
}

Result<ChangelogReader::Ends> ChangelogConsumer::ends(const TopicPartition& partition) {
  return ask_for_ends(partition, true);
}

Result<ChangelogReader::Ends> ChangelogConsumer::ends_now(const TopicPartition& partition) {
  return ask_for_ends(partition, false);
}

Result<ChangelogReader::Ends> ChangelogConsumer::ask_for_ends(const TopicPartition& partition,
                                                              bool stable_only) {
  const auto deadline = std::chrono::steady_clock::now() + kStableEndWaitMax;
  const auto at = [&](const KafkaClient& client, std::int64_t time) {
    return offsets_at(client.get(), {partition}, time, kQueryTimeout);
  };
  Status why = Status::unavailable("no answer yet");
  while (std::chrono::steady_clock::now() < deadline) {
    if (cancelled_())
      return Status::cancelled("asking for the end of " + to_string(partition) + " was stopped");
    // The end first: what is written in between cannot pass for stable.
    const auto end = at(stable_only ? uncommitted_ : committed_, RD_KAFKA_OFFSET_END);
    const auto stable = end && stable_only ? at(committed_, RD_KAFKA_OFFSET_END) : end;
    const auto start = stable ? at(committed_, RD_KAFKA_OFFSET_BEGINNING) : stable;
    if (!start) {
      why = start.error();
      if (why.code() != Code::kUnavailable) return why;
    } else if (stable->front() >= end->front()) {
      return Ends{start->front(), stable->front()};
    } else {
      why = Status::unavailable("a transaction is open on " + to_string(partition) +
                                " (last stable offset " + std::to_string(stable->front()) +
                                ", end " + std::to_string(end->front()) + ")");
    }
    std::this_thread::sleep_for(kStableEndPause);
  }
  return why;
}

Result<std::vector<std::int64_t>> ChangelogConsumer::ends_within(
    const std::vector<TopicPartition>& partitions, std::chrono::milliseconds timeout) {
  return offsets_at(committed_.get(), partitions, RD_KAFKA_OFFSET_END, timeout);
}

Status ChangelogConsumer::read(const TopicPartition& partition, std::int64_t from, std::int64_t to,
                               const Apply& apply) {
  if (from >= to) return {};
  const QueuePtr queue{
      rd_kafka_queue_get_partition(committed_.get(), partition.topic.c_str(), partition.partition)};
  rd_kafka_queue_forward(queue.get(), nullptr);
  const PartitionListPtr list{rd_kafka_topic_partition_list_new(1)};
  rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)
      ->offset = from;
  const KafkaErrorPtr assigned{rd_kafka_incremental_assign(committed_.get(), list.get())};
  auto status = kafka_status(assigned.get(), "cannot read changelog " + to_string(partition));
  if (!status.ok()) return status;
  status = drain(queue.get(), partition, to, apply);
  const KafkaErrorPtr unassigned{rd_kafka_incremental_unassign(committed_.get(), list.get())};
  return status;
}

// After its queue was full, librdkafka before 2.2 looks at it again only a second later, unless
// something else wakes the broker's thread: a request does.
void ChangelogConsumer::wake_fetcher(const TopicPartition& partition) {
  static_cast<void>(offsets_at(committed_.get(), {partition}, RD_KAFKA_OFFSET_END, kQueryTimeout));
}

// Ends on the position, never on silence: a slow broker is waited for, compacted and control
// records are passed.
Status ChangelogConsumer::drain(rd_kafka_queue_t* queue, const TopicPartition& partition,
                                std::int64_t to, const Apply& apply) {
  std::array<rd_kafka_message_t*, kBatchRecordsMax> taken{};
  std::vector<MessagePtr> messages;
  std::vector<LogRecord> records;
  std::int64_t position = -1;
  bool woken = true;  // Since the queue was last found empty.
  while (position < to) {
    if (cancelled_())
      return Status::cancelled("reading changelog " + to_string(partition) + " was stopped");
    auto count = rd_kafka_consume_batch_queue(queue, 0, taken.data(), taken.size());
    if (count <= 0) {
      if (!woken) wake_fetcher(partition);
      count = rd_kafka_consume_batch_queue(queue, kDrainWaitMs, taken.data(), taken.size());
    }
    woken = count <= 0;
    for (ssize_t i = 0; i < count; ++i) messages.emplace_back(taken[static_cast<std::size_t>(i)]);
    Status status;
    for (const auto& message : messages) {
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        position = message->offset;
      } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        auto error = kafka_status_of_known_topic(
            message->err, "cannot read changelog " + to_string(partition),
            rd_kafka_message_errstr(message.get()), {Access::on_topic("Read", partition.topic)});
        if (error.code() != Code::kUnavailable || is_damaged(message->err) ||
            is_unknown_topic(message->err))
          status = std::move(error);
      } else {
        position = message->offset + 1;
        if (message->offset >= to) break;
        const RawRecord raw = raw_record(*message);
        records.push_back({raw.offset, raw.key, raw.value, raw.timestamp, is_withdrawn(*message)});
      }
    }
    if (status.ok() && !records.empty()) status = apply(records);
    if (!status.ok()) return status;
    records.clear();
    messages.clear();
    rd_kafka_poll(committed_.get(), 0);
  }
  return {};
}

}  // namespace millrace
