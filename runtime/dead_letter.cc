// SPDX-License-Identifier: Apache-2.0
#include "runtime/dead_letter.h"

#include <algorithm>
#include <iterator>

#include "runtime/task_plan.h"

namespace millrace {
namespace {

constexpr std::size_t kTopicNameMax = 249;
constexpr std::size_t kMessageBytesMax = 4096;
constexpr std::size_t kBrokerBytesMax = 1'048'588;  // max.message.bytes, where nobody has set it.
constexpr std::size_t kBatchOverheadMax = 1024;

// librdkafka's: 36 for a record of format 2, and two numbers of at most 10 bytes for a header.
constexpr std::size_t kRecordOverheadMax = 64;
constexpr std::size_t kHeaderOverheadMax = 20;

std::size_t size_of(std::optional<std::string_view> bytes) { return bytes ? bytes->size() : 0; }

}  // namespace

std::map<std::string, std::vector<std::string>> dead_letter_topics(
    const Graph& graph, const ErrorRules& defaults, const std::string& application_id) {
  std::map<std::string, std::vector<std::string>> topics;
  for (const Node& node : graph.nodes()) {
    if (node.kind != NodeKind::kSource) continue;
    const ErrorRules rules = rules_of(node.source, defaults);
    if (!rules.may_dead_letter()) continue;
    const std::string& name = rules.dead_letter_topic;
    const std::string what = "the dead letters of topic '" + node.topic + "' go to '" + name + "'";
    constexpr auto is_legal = [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
    };
    if (name.empty() || name.size() > kTopicNameMax || !std::ranges::all_of(name, is_legal)) {
      throw ConfigError(what + ", which is no name of a topic: 1 to " +
                        std::to_string(kTopicNameMax) +
                        " characters of [a-zA-Z0-9._-]; set dead_letter_topic");
    }
    if (name == node.topic) {
      throw ConfigError(what + ": it would read its own dead letters for ever; give this source " +
                        "another dead_letter_topic or another policy");
    }
    for (const StoreSpec& store : graph.stores()) {
      if (changelog_topic(application_id, store.options) != name) continue;
      throw ConfigError(what + ", the changelog of store '" + store.options.name() +
                        "'; set another dead_letter_topic");
    }
    topics[name].push_back(node.topic);
  }
  return topics;
}

std::map<std::string, std::string> dead_letter_configs(std::size_t message_bytes_max) {
  std::map<std::string, std::string> configs{{"cleanup.policy", "delete"},
                                             {"message.timestamp.type", "LogAppendTime"}};
  // Brokers count what is around a record, too.
  if (message_bytes_max > kBrokerBytesMax - kBatchOverheadMax)
    configs["max.message.bytes"] = std::to_string(message_bytes_max + kBatchOverheadMax);
  return configs;
}

std::size_t record_bytes(std::optional<std::string_view> key, std::optional<std::string_view> value,
                         const Headers& headers) {
  std::size_t bytes = kRecordOverheadMax + size_of(key) + size_of(value);
  for (const auto& header : headers) {
    bytes += kHeaderOverheadMax + header.name.size() + size_of(header.value);
  }
  return bytes;
}

DeadLetter dead_letter(const ErrorContext& error, const std::string& application_id,
                       Headers own_headers, std::size_t bytes_max) {
  Headers why{
      {"__streams.errors.exception", std::string{to_string(error.kind)}},
      {"__streams.errors.message", std::string{error.message.substr(0, kMessageBytesMax)}},
      {"__streams.errors.topic", std::string{error.origin.topic}},
      {"__streams.errors.partition", std::to_string(error.origin.partition)},
      {"__streams.errors.offset", std::to_string(error.origin.offset)},
      {"millrace.error.timestamp", std::to_string(to_millis(error.timestamp))},
      {"millrace.error.application", application_id},
      {"millrace.error.task", std::string{error.task_id}},
      {"millrace.error.attempts", std::to_string(error.attempts)},
  };
  if (!error.operator_name.empty()) {
    why.push_back({"millrace.error.operator", std::string{error.operator_name}});
  }
  DeadLetter letter{error.key, error.value, std::move(own_headers)};
  const std::size_t why_bytes = record_bytes({}, {}, why);
  const auto bytes = [&] {
    return record_bytes(letter.key, letter.value, letter.headers) + why_bytes;
  };
  if (bytes() > bytes_max && letter.value) {
    why.push_back({"millrace.error.value_bytes", std::to_string(letter.value->size())});
    letter.value.reset();
  }
  if (bytes() > bytes_max) {
    letter.key.reset();
    letter.headers.clear();
  }
  letter.headers.insert(letter.headers.end(), std::make_move_iterator(why.begin()),
                        std::make_move_iterator(why.end()));
  return letter;
}

}  // namespace millrace
