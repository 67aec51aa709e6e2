// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/error_handling.h"
#include "millrace/graph.h"
#include "millrace/record.h"
#include "runtime/error_rules.h"

namespace millrace {

/// The topics that dead letters may go to, each with the sources whose records go there. Throws
/// ConfigError for a name that no broker accepts, for a source that would read its own dead letters
/// and for a changelog.
[[nodiscard]] std::map<std::string, std::vector<std::string>> dead_letter_topics(
    const Graph& graph, const ErrorRules& defaults, const std::string& application_id);

/// With what a dead-letter topic is created. Its records keep the time of those they are copies of;
/// how long they are kept counts from when they were written.
[[nodiscard]] std::map<std::string, std::string> dead_letter_configs(std::size_t message_bytes_max);

/// At most so many bytes does librdkafka count for a record when it compares with
/// `message.max.bytes`.
[[nodiscard]] std::size_t record_bytes(std::optional<std::string_view> key,
                                       std::optional<std::string_view> value,
                                       const Headers& headers);

/// A record that could not be processed, as it is written to the dead-letter topic.
struct DeadLetter {
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  Headers headers;
};

/// Key and value as they came; the record's own headers, then those that say what happened, by the
/// names of Kafka Streams (KIP-1034) where it has one. A copy that would be larger than `bytes_max`
/// goes without the value, and if that is not enough without key and own headers: topic, partition
/// and offset tell where the record is.
[[nodiscard]] DeadLetter dead_letter(const ErrorContext& error, const std::string& application_id,
                                     Headers own_headers, std::size_t bytes_max);

}  // namespace millrace
