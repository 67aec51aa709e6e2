// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <librdkafka/rdkafka.h>

#include <span>
#include <string>
#include <vector>

#include "runtime/task.h"

namespace millrace {

/// Messages of one partition, kept as librdkafka gave them: keys and values are borrowed, nothing
/// is copied.
class KafkaBatch final : public Batch {
 public:
  /// Takes the messages over; they must be without error and in offset order.
  explicit KafkaBatch(std::vector<rd_kafka_message_t*> messages);
  ~KafkaBatch() override;
  KafkaBatch(const KafkaBatch&) = delete;
  KafkaBatch& operator=(const KafkaBatch&) = delete;

  [[nodiscard]] std::span<const RawRecord> records() const override { return records_; }

 private:
  class MessageHeaders final : public HeaderSource {
   public:
    explicit MessageHeaders(const rd_kafka_message_t* message) : message_(message) {}
    [[nodiscard]] Headers headers() const override;

   private:
    const rd_kafka_message_t* message_;
  };

  std::vector<rd_kafka_message_t*> messages_;
  std::vector<MessageHeaders> headers_;
  std::vector<RawRecord> records_;
};

/// Key, value and timestamp of a message. Borrowed; headers are not set.
[[nodiscard]] RawRecord raw_record(const rd_kafka_message_t& message);

}  // namespace millrace
