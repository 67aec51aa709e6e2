// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "runtime/kafka/client_config.h"
#include "runtime/kafka/handles.h"
#include "runtime/task.h"
#include "runtime/topic_partition.h"

namespace millrace {

/// One input partition of the data consumer, from its opening to its closing.
///
/// Used by one thread at a time; opened and closed from any. Back-pressure is not taking: nothing
/// is ever paused.
class InputPartition {
 public:
  ~InputPartition();
  InputPartition(const InputPartition&) = delete;
  InputPartition& operator=(const InputPartition&) = delete;

  /// What has been fetched, at most `records_max`; null if nothing is there now. Does not wait. A
  /// Status is final for this partition object: corruption if the log does not have the offset any
  /// more.
  Result<std::unique_ptr<Batch>> take(std::size_t records_max);

  /// Whether the position has reached the end of the partition, as far as fetches have told.
  [[nodiscard]] bool caught_up() const { return lag() == 0; }
  /// Offsets between the position and the end; -1 if the end is not known yet. What transactions
  /// leave at the end, markers and aborted records, counts until a take has found nothing.
  [[nodiscard]] std::int64_t lag() const;

 private:
  friend class DataConsumer;
  InputPartition(rd_kafka_t* consumer, TopicPartition partition, std::int64_t offset,
                 std::function<void()> wake);
  void pass_over_markers();

  rd_kafka_t* consumer_;
  const TopicPartition partition_;
  std::int64_t position_;  // Behind the last record taken.
  std::int64_t passed_;    // The same with what is no record; not of use for what to take next.
  const std::function<void()> wake_;
  QueuePtr queue_;
  bool assigned_ = false;
};

/// The consumer D: reads input partitions by manual assignment, each through its own queue. Never
/// joins a group, never commits, so no rebalance ever touches a partition that stays (reference:
/// librdkafka 2.0.2 loses batches otherwise).
class DataConsumer {
 public:
  static Result<std::unique_ptr<DataConsumer>> create(const Config& config, KafkaLog log);

  /// Waits up to kDestroyMax for the client's end, and leaves one that does not end to the end of
  /// the process.
  ~DataConsumer();
  DataConsumer(const DataConsumer&) = delete;
  DataConsumer& operator=(const DataConsumer&) = delete;
  static constexpr std::chrono::seconds kDestroyMax{5};

  /// Starts fetching at `offset`. `wake` is called from librdkafka's threads, with a lock held,
  /// when records arrive on an empty queue: it may only set a flag or send a message.
  Result<std::unique_ptr<InputPartition>> open(TopicPartition partition, std::int64_t offset,
                                               std::function<void()> wake);

  /// Serves errors and logs that belong to no partition. Call now and then, from one thread.
  void poll();

 private:
  explicit DataConsumer(KafkaClient client) : client_(std::move(client)) {}
  KafkaClient client_;
};

}  // namespace millrace
