// SPDX-License-Identifier: Apache-2.0
#include "runtime/error_rules.h"

#include <algorithm>

namespace millrace {
namespace {

constexpr std::chrono::milliseconds kPauseMax = std::chrono::minutes{1};
// Beyond it the pause is at its maximum in any case, and shifting on would overflow.
constexpr std::size_t kDoublingsMax = 16;

}  // namespace

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kDecode:
      return "decode_error";
    case ErrorKind::kProcess:
      return "user_error";
    case ErrorKind::kProduce:
      return "produce_error";
  }
  return "unknown";
}

ErrorPolicy ErrorRules::policy(ErrorKind kind) const {
  switch (kind) {
    case ErrorKind::kDecode:
      return on_decode_error;
    case ErrorKind::kProcess:
      return on_error;
    case ErrorKind::kProduce:
      return on_produce_error;
  }
  return ErrorPolicy::kFail;
}

bool ErrorRules::may_undo() const {
  return on_error != ErrorPolicy::kFail || on_produce_error != ErrorPolicy::kFail || retries > 0 ||
         handler;
}

bool ErrorRules::may_dead_letter() const {
  return on_decode_error == ErrorPolicy::kDeadLetter || on_error == ErrorPolicy::kDeadLetter ||
         on_produce_error == ErrorPolicy::kDeadLetter || handler;
}

bool ErrorRules::may_give_up() const {
  return on_decode_error != ErrorPolicy::kFail || on_error != ErrorPolicy::kFail ||
         on_produce_error != ErrorPolicy::kFail || handler;
}

std::chrono::milliseconds ErrorRules::pause(std::size_t failures) const {
  const auto doublings = std::min(failures - 1, kDoublingsMax);
  return std::min(std::min(retry_backoff, kPauseMax) * (1 << doublings), kPauseMax);
}

ErrorRules error_rules(const Config& config) {
  return {config.on_decode_error,
          config.on_error,
          config.on_produce_error,
          config.error_retries,
          config.error_retry_backoff,
          dead_letter_topic(config.application_id, config.dead_letter_topic),
          config.error_handler};
}

ErrorRules rules_of(const SourceOptions& source, ErrorRules defaults) {
  ErrorRules rules = std::move(defaults);
  rules.on_decode_error = source.on_decode_error.value_or(rules.on_decode_error);
  rules.on_error = source.on_error.value_or(rules.on_error);
  rules.on_produce_error = source.on_produce_error.value_or(rules.on_produce_error);
  rules.retries = source.error_retries.value_or(rules.retries);
  rules.retry_backoff = source.error_retry_backoff.value_or(rules.retry_backoff);
  rules.dead_letter_topic = source.dead_letter_topic.value_or(rules.dead_letter_topic);
  return rules;
}

std::string dead_letter_topic(const std::string& application_id, const std::string& setting) {
  return setting.empty() ? application_id + "-dead-letter" : setting;
}

}  // namespace millrace
