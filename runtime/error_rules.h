// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "millrace/config.h"
#include "millrace/error_handling.h"

namespace millrace {

/// What becomes of the records of one source that cannot be processed.
struct ErrorRules {
  ErrorPolicy on_decode_error = ErrorPolicy::kFail;
  ErrorPolicy on_error = ErrorPolicy::kFail;
  ErrorPolicy on_produce_error = ErrorPolicy::kFail;
  std::size_t retries = 0;
  std::chrono::milliseconds retry_backoff{200};
  std::string dead_letter_topic;
  ErrorHandler handler;

  [[nodiscard]] ErrorPolicy policy(ErrorKind kind) const;
  /// Whether a record that operators have seen may be given up, or be tried again: what it changes
  /// is kept apart until it is done.
  [[nodiscard]] bool may_undo() const;
  [[nodiscard]] bool may_dead_letter() const;
  /// Whether some record may be left out at all.
  [[nodiscard]] bool may_give_up() const;
  /// The pause after the `failures`-th attempt (1 or more) at a record.
  [[nodiscard]] std::chrono::milliseconds pause(std::size_t failures) const;
};

/// What the configuration says.
[[nodiscard]] ErrorRules error_rules(const Config& config);

/// The same, where the source does not say otherwise.
[[nodiscard]] ErrorRules rules_of(const SourceOptions& source, ErrorRules defaults);

/// `<application id>-dead-letter`, or the name that the setting gives.
[[nodiscard]] std::string dead_letter_topic(const std::string& application_id,
                                            const std::string& setting);

}  // namespace millrace
