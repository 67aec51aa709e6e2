// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "runtime/kafka/producer.h"
#include "runtime/sink.h"

namespace millrace {

/// The sink of a real application: one producer for all tasks of a process. Thread-safe.
class KafkaSink final : public Sink {
 public:
  /// `partitions`: the counts of the topics that tasks write to, asked of the broker at start-up.
  KafkaSink(Producer& producer, std::map<std::string, std::int32_t> partitions)
      : producer_(producer), partitions_(std::move(partitions)) {}

  Result<Topic> topic(const std::string& name) override;
  std::shared_ptr<AckTracker> new_tracker() override { return producer_.new_tracker(); }
  Status produce(std::uint32_t topic, std::int32_t partition, std::optional<std::string_view> key,
                 std::optional<std::string_view> value, Timestamp timestamp, const Headers* headers,
                 AckTracker& tracker) override;

 private:
  Producer& producer_;
  const std::map<std::string, std::int32_t> partitions_;
};

}  // namespace millrace
