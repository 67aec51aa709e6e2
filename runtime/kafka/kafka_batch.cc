// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/kafka_batch.h"

namespace millrace {

RawRecord raw_record(const rd_kafka_message_t& message) {
  RawRecord record;
  // A zero-length key or value has a pointer, a null one has none.
  if (message.key != nullptr)
    record.key.emplace(static_cast<const char*>(message.key), message.key_len);
  if (message.payload != nullptr)
    record.value.emplace(static_cast<const char*>(message.payload), message.len);
  rd_kafka_timestamp_type_t type{};
  record.timestamp = from_millis(rd_kafka_message_timestamp(&message, &type));
  record.offset = message.offset;
  return record;
}

KafkaBatch::KafkaBatch(std::vector<rd_kafka_message_t*> messages) : messages_(std::move(messages)) {
  headers_.reserve(messages_.size());
  records_.reserve(messages_.size());
  for (const rd_kafka_message_t* message : messages_) {
    headers_.emplace_back(message);
    records_.push_back(raw_record(*message));
    records_.back().headers = &headers_.back();
  }
}

KafkaBatch::~KafkaBatch() {
  for (rd_kafka_message_t* message : messages_) rd_kafka_message_destroy(message);
}

Headers KafkaBatch::MessageHeaders::headers() const {
  Headers result;
  rd_kafka_headers_t* list = nullptr;
  if (rd_kafka_message_headers(message_, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) return result;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0;
       rd_kafka_header_get_all(list, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
    Header header{name, std::nullopt};
    if (value != nullptr) header.value.emplace(static_cast<const char*>(value), size);
    result.push_back(std::move(header));
  }
  return result;
}

}  // namespace millrace
