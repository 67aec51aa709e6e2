// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "runtime/kafka/handles.h"

namespace millrace {

/// What a broker says of a topic.
struct TopicMetadata {
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;  ///< Of the topic, or no answer came.
  std::int32_t partitions = 0;                             ///< 0 with an error.
};

/// Asks any broker; never creates the topic. Blocking, thread-safe.
[[nodiscard]] TopicMetadata topic_metadata(rd_kafka_t* client, rd_kafka_topic_t* topic,
                                           std::chrono::milliseconds timeout);

}  // namespace millrace
