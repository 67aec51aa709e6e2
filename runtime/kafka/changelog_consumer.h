// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "runtime/kafka/client_config.h"
#include "runtime/restore.h"

namespace millrace {

/// Reads changelogs from Kafka, committed records only. Used by one thread.
class ChangelogConsumer final : public ChangelogReader {
 public:
  /// How long `ends` waits for open transactions of a dead writer to be ended by the broker, and
  /// for answers.
  static constexpr std::chrono::seconds kStableEndWaitMax{60};

  /// `cancelled` is asked while waiting.
  static Result<std::unique_ptr<ChangelogConsumer>> create(const Config& config,
                                                           const KafkaLog& log,
                                                           std::function<bool()> cancelled);

  Result<Ends> ends(const TopicPartition& partition) override;
  Result<Ends> ends_now(const TopicPartition& partition) override;
  /// Where each of `partitions` ends for readers of committed records, in their order. Asks once,
  /// for `timeout`; if that is in vain, it asks who leads them now, for as long again.
  /// Precondition: not empty.
  Result<std::vector<std::int64_t>> ends_within(const std::vector<TopicPartition>& partitions,
                                                std::chrono::milliseconds timeout);
  Status read(const TopicPartition& partition, std::int64_t from, std::int64_t to,
              const Apply& apply) override;

 private:
  ChangelogConsumer(KafkaClient committed, KafkaClient uncommitted, std::function<bool()> cancelled)
      : committed_(std::move(committed)),
        uncommitted_(std::move(uncommitted)),
        cancelled_(std::move(cancelled)) {}

  Result<Ends> ask_for_ends(const TopicPartition& partition, bool stable_only);
  void wake_fetcher(const TopicPartition& partition);
  Status drain(rd_kafka_queue_t* queue, const TopicPartition& partition, std::int64_t to,
               const Apply& apply);

  KafkaClient committed_;    // read_committed: for it a log ends at the last stable offset.
  KafkaClient uncommitted_;  // read_uncommitted: the high watermark.
  std::function<bool()> cancelled_;
};

}  // namespace millrace
