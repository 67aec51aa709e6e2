// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "millrace/config.h"

namespace spdlog {
class logger;
}

namespace millrace {

/// Where an App's log lines go: `Config::log`. Thread-safe. Never stdout.
class Log {
 public:
  Log(const LogOptions& options, std::string application_id);
  ~Log();

  void write(LogLevel level, std::string_view text) const;
  void info(std::string_view text) const { write(LogLevel::kInfo, text); }
  void warn(std::string_view text) const { write(LogLevel::kWarn, text); }
  void error(std::string_view text) const { write(LogLevel::kError, text); }

  /// The form that librdkafka's clients want.
  [[nodiscard]] std::function<void(int, std::string_view, std::string_view)> for_kafka() const;

 private:
  const LogOptions options_;
  const std::string application_id_;
  mutable std::mutex mutex_;  // One call of the user's sink at a time.
  std::shared_ptr<spdlog::logger> stderr_;
};

}  // namespace millrace
