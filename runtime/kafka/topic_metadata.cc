// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/topic_metadata.h"

namespace millrace {

TopicMetadata topic_metadata(rd_kafka_t* client, rd_kafka_topic_t* topic,
                             std::chrono::milliseconds timeout) {
  const rd_kafka_metadata_t* raw = nullptr;
  const auto error = rd_kafka_metadata(client, 0, topic, &raw, timeout_ms(timeout));
  const MetadataPtr metadata{raw};
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return {error, 0};
  if (metadata->topic_cnt != 1) return {RD_KAFKA_RESP_ERR__FAIL, 0};  // Not what was asked for.
  const auto& found = metadata->topics[0];
  if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR) return {found.err, 0};
  return {RD_KAFKA_RESP_ERR_NO_ERROR, found.partition_cnt};
}

}  // namespace millrace
