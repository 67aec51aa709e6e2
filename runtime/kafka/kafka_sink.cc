// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/kafka_sink.h"

namespace millrace {

Result<Sink::Topic> KafkaSink::topic(const std::string& name) {
  const auto partitions = partitions_.find(name);
  if (partitions == partitions_.end()) {
    return Status::invalid_argument("topic '" + name +
                                    "' does not exist; create it before the application starts");
  }
  auto id = producer_.topic(name);
  if (!id) return id.error();
  return Topic{id->index, partitions->second};
}

Status KafkaSink::produce(std::uint32_t topic, std::int32_t partition,
                          std::optional<std::string_view> key,
                          std::optional<std::string_view> value, Timestamp timestamp,
                          const Headers* headers, AckTracker& tracker) {
  if (headers == nullptr)
    return producer_.produce({topic}, partition, key, value, timestamp, nullptr, &tracker);
  Producer::Headers converted;
  converted.reserve(headers->size());
  for (const auto& header : *headers) converted.emplace_back(header.name, header.value);
  return producer_.produce({topic}, partition, key, value, timestamp, &converted, &tracker);
}

}  // namespace millrace
