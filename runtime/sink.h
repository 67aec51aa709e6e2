// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "millrace/error.h"
#include "millrace/record.h"
#include "runtime/kafka/ack_tracker.h"

namespace millrace {

/// Where a task's outputs and changes go: Kafka, or the log of a test.
class Sink {
 public:
  /// A topic that the sink can write to.
  struct Topic {
    std::uint32_t id = 0;
    std::int32_t partitions = 0;
  };

  virtual ~Sink() = default;

  /// Called while a task is made, never per record. invalid_argument if the topic does not exist.
  virtual Result<Topic> topic(const std::string& name) = 0;

  /// Counts acknowledgements for one writer. Shared, because reports may come late.
  virtual std::shared_ptr<AckTracker> new_tracker() = 0;

  /// Hands one record over for sending; all bytes are copied. Success says nothing about delivery:
  /// the tracker does.
  virtual Status produce(std::uint32_t topic, std::int32_t partition,
                         std::optional<std::string_view> key, std::optional<std::string_view> value,
                         Timestamp timestamp, const Headers* headers, AckTracker& tracker) = 0;
};

}  // namespace millrace
