// SPDX-License-Identifier: Apache-2.0
#include "millrace/error.h"

#include <array>

namespace millrace {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
  return text;
}

std::string create_command(const std::string& topic, std::int32_t partitions, int replication,
                           const std::map<std::string, std::string>& configs) {
  std::string text = "kafka-topics.sh --bootstrap-server HOST:PORT --create --topic " + topic +
                     " --partitions " + std::to_string(partitions);
  if (replication > 0) text += " --replication-factor " + std::to_string(replication);
  for (const auto& [name, value] : configs) text += " --config " + name + '=' + value;
  return text;
}

}  // namespace

std::string_view to_string(Code code) {
  static constexpr std::array<std::string_view, 7> kNames{
      "ok", "invalid_argument", "unavailable", "fenced", "corruption", "cancelled", "internal"};
  return kNames.at(static_cast<std::size_t>(code));
}

std::string Status::to_string() const {
  if (ok()) return "ok";
  return std::string{millrace::to_string(code_)} + ": " + message_;
}

std::string_view to_string(NotReadyReason reason) {
  switch (reason) {
    case NotReadyReason::kRestoring:
      return "restoring";
    case NotReadyReason::kMoved:
      return "moved";
    case NotReadyReason::kStopped:
      return "stopped";
  }
  return "unknown";
}

SourceTopicNotFoundError::SourceTopicNotFoundError(std::string topic_name, std::string store)
    : Error("source_topic_not_found",
            "source topic '" + topic_name + "' does not exist" +
                (store.empty() ? std::string{} : ", but store '" + store + "' is fed by it") +
                "; create the topic (with as many partitions as you want tasks) and start again"),
      topic(std::move(topic_name)),
      store_name(std::move(store)) {}

SinkTopicNotFoundError::SinkTopicNotFoundError(std::string topic_name)
    : Error("sink_topic_not_found",
            "topic '" + topic_name +
                "', which the topology writes to, does not exist; create it and start again"),
      topic(std::move(topic_name)) {}

SinkTopicNotFoundError::SinkTopicNotFoundError(std::string topic_name, const std::string& where)
    : Error("sink_topic_not_found",
            where + ": topic '" + topic_name +
                "' is not among the reaction topics of the reducer; list it in "
                "reacts_to(...)"),
      topic(std::move(topic_name)) {}

ChangelogPartitionMismatchError::ChangelogPartitionMismatchError(std::string changelog,
                                                                 std::int32_t expected,
                                                                 std::int32_t actual,
                                                                 std::vector<std::string> sources)
    : Error("changelog_partition_mismatch", "changelog '" + changelog + "' has " +
                                                std::to_string(actual) +
                                                " partitions, but its sources " + joined(sources) +
                                                " need " + std::to_string(expected) +
                                                "; task N writes to changelog partition N, so the "
                                                "counts must be equal: reset the application or "
                                                "recreate the topic"),
      changelog_topic(std::move(changelog)),
      expected_partitions(expected),
      actual_partitions(actual),
      source_topics(std::move(sources)) {}

ChangelogNotFoundError::ChangelogNotFoundError(std::string changelog, std::string store,
                                               std::int32_t partitions, int replication,
                                               std::map<std::string, std::string> configs)
    : Error(
          "changelog_not_found",
          "changelog '" + changelog + "' of store '" + store +
              "' does not exist, and may not be created (auto_create_topics, or auto_create of the "
              "store); allow it, or create the topic: " +
              create_command(changelog, partitions, replication, configs)),
      changelog_topic(std::move(changelog)),
      store_name(std::move(store)),
      expected_partitions(partitions),
      replication_factor(replication),
      topic_configs(std::move(configs)) {}

DeadLetterTopicNotFoundError::DeadLetterTopicNotFoundError(
    std::string topic_name, std::int32_t partitions, int replication,
    const std::map<std::string, std::string>& configs)
    : Error("dead_letter_topic_not_found",
            "topic '" + topic_name +
                "' for dead letters does not exist, and may not be created (auto_create_topics); "
                "allow it, name another (dead_letter_topic), or create the topic: " +
                create_command(topic_name, partitions, replication, configs)),
      topic(std::move(topic_name)) {}

CommittedOffsetsLostError::CommittedOffsetsLostError(std::string changelog,
                                                     std::int32_t partition_number,
                                                     std::int64_t end)
    : Error("committed_offsets_lost", "changelog " + changelog + "-" +
                                          std::to_string(partition_number) +
                                          " holds records up to offset " + std::to_string(end) +
                                          ", but the group has no committed offsets for the task's "
                                          "input: they expired or were deleted, so how "
                                          "far the log counts is unknown; reset the application "
                                          "(delete the changelog) to start from nothing, "
                                          "or restore the group's offsets"),
      changelog_topic(std::move(changelog)),
      partition(partition_number) {}

UnknownValuesError::UnknownValuesError(std::string changelog, std::int32_t partition_number,
                                       std::size_t key_count)
    : Error("unknown_values",
            "changelog " + changelog + "-" + std::to_string(partition_number) +
                " held records of up to " + std::to_string(key_count) +
                " keys that no commit covers, has been compacted, and these records may be older "
                "than "
                "its min.compaction.lag.ms: what was committed for these keys may be gone; start "
                "with the state directory of the process that crashed if it is another one than "
                "this, or set on_unknown_value = accept to go on with what the changelog shows (an "
                "older value, or none), or reset "
                "the application. A larger min.compaction.lag.ms (setting "
                "topic.min.compaction.lag.ms) gives longer outages room"),
      changelog_topic(std::move(changelog)),
      partition(partition_number),
      keys(key_count) {}

}  // namespace millrace
