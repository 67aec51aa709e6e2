// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "millrace/record.h"

namespace millrace {

/// What becomes of a record that cannot be processed. Under the last two the partition goes on, and
/// the record leaves no trace in stores and outputs: its offset is committed with those around it.
enum class ErrorPolicy : std::uint8_t {
  kFail,        ///< The task fails, and restarts up to `Config::task_restart_limit`.
  kSkip,        ///< The record is dropped and counted.
  kDeadLetter,  ///< The same, and a copy with what went wrong is written to the dead-letter topic.
};

/// Where a record failed.
enum class ErrorKind : std::uint8_t {
  kDecode,   ///< Its key or value cannot be decoded.
  kProcess,  ///< A user function or a serde threw.
  kProduce,  ///< It led to an output that is larger than `kafka.message.max.bytes`.
};

/// "decode_error", "user_error", "produce_error": as in metrics and dead letters.
[[nodiscard]] std::string_view to_string(ErrorKind kind);

/// A record that could not be processed. A view: it lives until the handler returns.
struct ErrorContext {
  ErrorKind kind;
  /// Of a table's change, which is handed on at a commit and belongs to no record: the table's
  /// operator, the task's partition, and -1.
  Origin origin;
  Timestamp timestamp;
  /// As they came, not decoded; of a table's change, as the store has them.
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::string_view task_id;
  std::string_view operator_name;  ///< Empty where it is not known.
  std::string_view message;
  std::size_t attempts;  ///< 1 unless it was tried again.
  ErrorPolicy policy;    ///< What the settings say.
};

/// Decides in place of the settings; `return error.policy;` leaves it to them. Called after the
/// last attempt, on the thread of the task, by several tasks at once. Throwing fails the task.
using ErrorHandler = std::function<ErrorPolicy(const ErrorContext& error)>;

/// What a stream does with records it cannot process; default: the configuration's.
struct SourceOptions {
  std::optional<ErrorPolicy> on_decode_error = {};
  /// A user function throws while a record of this source is processed.
  std::optional<ErrorPolicy> on_error = {};
  /// An output is too large to be sent.
  std::optional<ErrorPolicy> on_produce_error = {};
  /// How often a record is tried again before `on_error` applies, and the pause before the first of
  /// these attempts; it doubles, up to a minute.
  std::optional<std::size_t> error_retries = {};
  std::optional<std::chrono::milliseconds> error_retry_backoff = {};
  std::optional<std::string> dead_letter_topic = {};
};

}  // namespace millrace
