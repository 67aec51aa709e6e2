// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>

namespace millrace {

/// Calls `kDestroy`, a function of librdkafka's C API, on what a unique_ptr owns.
template <auto kDestroy>
struct KafkaDeleter {
  template <class T>
  void operator()(T* object) const noexcept {
    kDestroy(object);
  }
};

/// Destroys a client without `rd_kafka_consumer_close`, which would block and run the rebalance
/// callback at a moment nobody chose: who wants to leave the group in order closes first.
struct ClientDeleter {
  void operator()(rd_kafka_t* client) const noexcept {
    rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  }
};

using ClientPtr = std::unique_ptr<rd_kafka_t, ClientDeleter>;
using ConfPtr = std::unique_ptr<rd_kafka_conf_t, KafkaDeleter<&rd_kafka_conf_destroy>>;
using QueuePtr = std::unique_ptr<rd_kafka_queue_t, KafkaDeleter<&rd_kafka_queue_destroy>>;
using TopicPtr = std::unique_ptr<rd_kafka_topic_t, KafkaDeleter<&rd_kafka_topic_destroy>>;
using MessagePtr = std::unique_ptr<rd_kafka_message_t, KafkaDeleter<&rd_kafka_message_destroy>>;
using EventPtr = std::unique_ptr<rd_kafka_event_t, KafkaDeleter<&rd_kafka_event_destroy>>;
using KafkaErrorPtr = std::unique_ptr<rd_kafka_error_t, KafkaDeleter<&rd_kafka_error_destroy>>;
using HeadersPtr = std::unique_ptr<rd_kafka_headers_t, KafkaDeleter<&rd_kafka_headers_destroy>>;
using PartitionListPtr = std::unique_ptr<rd_kafka_topic_partition_list_t,
                                         KafkaDeleter<&rd_kafka_topic_partition_list_destroy>>;
using GroupMetadataPtr = std::unique_ptr<rd_kafka_consumer_group_metadata_t,
                                         KafkaDeleter<&rd_kafka_consumer_group_metadata_destroy>>;
using MetadataPtr =
    std::unique_ptr<const rd_kafka_metadata_t, KafkaDeleter<&rd_kafka_metadata_destroy>>;
using AdminOptionsPtr =
    std::unique_ptr<rd_kafka_AdminOptions_t, KafkaDeleter<&rd_kafka_AdminOptions_destroy>>;
using NewTopicPtr = std::unique_ptr<rd_kafka_NewTopic_t, KafkaDeleter<&rd_kafka_NewTopic_destroy>>;
using DeleteTopicPtr =
    std::unique_ptr<rd_kafka_DeleteTopic_t, KafkaDeleter<&rd_kafka_DeleteTopic_destroy>>;
using DeleteGroupPtr =
    std::unique_ptr<rd_kafka_DeleteGroup_t, KafkaDeleter<&rd_kafka_DeleteGroup_destroy>>;
using ConfigResourcePtr =
    std::unique_ptr<rd_kafka_ConfigResource_t, KafkaDeleter<&rd_kafka_ConfigResource_destroy>>;

/// A time-out as librdkafka takes it. Negative ones become 0, since -1 would mean "for ever".
[[nodiscard]] inline int timeout_ms(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kLongest{std::numeric_limits<int>::max()};
  return static_cast<int>(std::clamp(timeout, std::chrono::milliseconds::zero(), kLongest).count());
}

}  // namespace millrace
