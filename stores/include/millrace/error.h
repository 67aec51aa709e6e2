// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace millrace {

/// What went wrong, named by the caller's next move.
enum class Code : std::uint8_t {
  kOk,
  kInvalidArgument,  ///< Fix the call, the configuration or the topology.
  kUnavailable,      ///< Retry with back-off.
  kFenced,           ///< Somebody else owns this now: drop the task, write nothing.
  kCorruption,       ///< Rebuild from the log.
  kCancelled,        ///< Stopping.
  kInternal,         ///< Stop the app.
};

/// The stable lower-case name of a code, such as "invalid_argument".
[[nodiscard]] std::string_view to_string(Code code);

/// Success, or a code with a message that says what failed, where, why and what to do.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status invalid_argument(std::string message) {
    return {Code::kInvalidArgument, std::move(message)};
  }
  static Status unavailable(std::string message) {
    return {Code::kUnavailable, std::move(message)};
  }
  static Status fenced(std::string message) { return {Code::kFenced, std::move(message)}; }
  static Status corruption(std::string message) { return {Code::kCorruption, std::move(message)}; }
  static Status cancelled(std::string message) { return {Code::kCancelled, std::move(message)}; }
  static Status internal(std::string message) { return {Code::kInternal, std::move(message)}; }

  [[nodiscard]] bool ok() const { return code_ == Code::kOk; }
  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }

  /// "unavailable: ..."; "ok" for success.
  [[nodiscard]] std::string to_string() const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

/// A value or the Status that says why there is none. Spelled like `std::expected`.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Status error) : content_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool has_value() const { return content_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  [[nodiscard]] T& operator*() & { return std::get<0>(content_); }
  [[nodiscard]] const T& operator*() const& { return std::get<0>(content_); }
  [[nodiscard]] T&& operator*() && { return std::get<0>(std::move(content_)); }
  [[nodiscard]] T* operator->() { return &std::get<0>(content_); }
  [[nodiscard]] const T* operator->() const { return &std::get<0>(content_); }

  /// Precondition: `!has_value()`.
  [[nodiscard]] const Status& error() const { return std::get<1>(content_); }

 private:
  std::variant<T, Status> content_;
};

/// Base of every exception of the public API. `what()` says what, where, why and what to do.
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message)
      : std::runtime_error(message), code_(std::move(code)) {}

  /// A stable identifier for programs, such as "source_topic_not_found".
  [[nodiscard]] const std::string& code() const { return code_; }

 private:
  std::string code_;
};

/// A setting is missing, unknown or has a bad value.
class ConfigError final : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error("config", message) {}
};

/// The topology cannot work: a duplicate store name, a key changed before a keyed operator, ...
class TopologyError final : public Error {
 public:
  explicit TopologyError(const std::string& message) : Error("topology", message) {}
};

/// No broker answered within the start-up time-out.
class BrokerUnavailableError final : public Error {
 public:
  explicit BrokerUnavailableError(const std::string& message)
      : Error("broker_unavailable", message) {}
};

/// A topic that a stream or table reads does not exist on the broker.
class SourceTopicNotFoundError final : public Error {
 public:
  SourceTopicNotFoundError(std::string topic_name, std::string store);

  const std::string topic;
  const std::string store_name;  ///< A store fed by the topic; empty if there is none.
};

/// A topic that is written to does not exist, or a reducer reacted to one that it did not list in
/// `reacts_to`.
class SinkTopicNotFoundError final : public Error {
 public:
  /// It does not exist on the broker.
  explicit SinkTopicNotFoundError(std::string topic_name);
  /// It is not listed. `where`: record and operator.
  SinkTopicNotFoundError(std::string topic_name, const std::string& where);

  const std::string topic;
};

/// A changelog exists with another partition count than its source topics have.
class ChangelogPartitionMismatchError final : public Error {
 public:
  ChangelogPartitionMismatchError(std::string changelog, std::int32_t expected, std::int32_t actual,
                                  std::vector<std::string> sources);

  const std::string changelog_topic;
  const std::int32_t expected_partitions;
  const std::int32_t actual_partitions;
  const std::vector<std::string> source_topics;
};

/// A changelog does not exist and the configuration or the store forbids to create it.
class ChangelogNotFoundError final : public Error {
 public:
  ChangelogNotFoundError(std::string changelog, std::string store, std::int32_t partitions,
                         int replication, std::map<std::string, std::string> configs);

  const std::string changelog_topic;
  const std::string store_name;
  const std::int32_t expected_partitions;
  const int replication_factor;  ///< -1: the broker's default.
  const std::map<std::string, std::string> topic_configs;
};

/// The topic for records that cannot be processed does not exist and the configuration forbids to
/// create it.
class DeadLetterTopicNotFoundError final : public Error {
 public:
  DeadLetterTopicNotFoundError(std::string topic_name, std::int32_t partitions, int replication,
                               const std::map<std::string, std::string>& configs);

  const std::string topic;
};

/// A changelog holds records but the group has no committed offset that says how far they count. A
/// task fails with it: its text is that of `App::error()`.
class CommittedOffsetsLostError final : public Error {
 public:
  CommittedOffsetsLostError(std::string changelog, std::int32_t partition_number, std::int64_t end);

  const std::string changelog_topic;
  const std::int32_t partition;
};

/// Records that no commit covers lie behind a changelog's committed end, and for longer than
/// brokers keep what such records supersede (`min.compaction.lag.ms`): committed values of their
/// keys may be gone from the changelog, and the local state that had them too. A task fails with
/// it: its text is that of `App::error()`.
class UnknownValuesError final : public Error {
 public:
  UnknownValuesError(std::string changelog, std::int32_t partition_number, std::size_t key_count);

  const std::string changelog_topic;
  const std::int32_t partition;
  const std::size_t keys;
};

/// The state directory is in use by another process, belongs to another application, or is not
/// readable.
class StateDirectoryError final : public Error {
 public:
  explicit StateDirectoryError(const std::string& message) : Error("state_directory", message) {}
};

/// `record.value()` of a record whose value is null.
class NullValueError final : public Error {
 public:
  NullValueError() : Error("null_value", "the record has no value (null); ask has_value() first") {}
};

/// A store of that name exists with other key or value types.
class StoreTypeError final : public Error {
 public:
  explicit StoreTypeError(const std::string& message) : Error("store_type", message) {}
};

/// The topology has no store of that name.
class UnknownStoreError final : public Error {
 public:
  explicit UnknownStoreError(const std::string& message) : Error("unknown_store", message) {}
};

/// Why a store cannot be read here at the moment.
enum class NotReadyReason : std::uint8_t {
  kRestoring,  ///< Its state is being restored, or its task is too busy to answer: ask again.
  kMoved,      ///< The partition belongs to another instance: ask there.
  kStopped,    ///< The app is not started, stopping or stopped, or the task is parked.
};

/// "restoring", "moved" or "stopped".
[[nodiscard]] std::string_view to_string(NotReadyReason reason);

/// The store's partition is not served here at the moment.
class NotReadyError final : public Error {
 public:
  NotReadyError(NotReadyReason why, const std::string& message)
      : Error("not_ready", message), reason(why) {}

  const NotReadyReason reason;
};

/// Why there is no backup.
enum class BackupProblem : std::uint8_t {
  kNotEmpty,         ///< The directory holds something.
  kNotWritable,      ///< It cannot be created or written to.
  kStateDirectory,   ///< It is the state directory, above it or inside it.
  kOtherFileSystem,  ///< It is not on the file system of the state directory.
  kEngine,           ///< A store's engine cannot be backed up.
  kNotReady,         ///< A task is being restored, has moved, or the app does not run.
  kFailed,           ///< Writing failed: disk full and the like.
};

/// A backup could not be made. Nothing of it is left.
class BackupError final : public Error {
 public:
  BackupError(BackupProblem what_problem, const std::string& message)
      : Error("backup", message), problem(what_problem) {}

  const BackupProblem problem;
};

/// Anything a Status reports at the public border that has no type of its own.
class StatusError final : public Error {
 public:
  explicit StatusError(const Status& status)
      : Error(std::string{to_string(status.code())}, status.message()) {}
};

}  // namespace millrace
