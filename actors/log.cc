// SPDX-License-Identifier: Apache-2.0
#include "actors/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <iostream>

namespace millrace {
namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

}  // namespace

Log::Log(const LogOptions& options, std::string application_id)
    : options_(options), application_id_(std::move(application_id)) {
  if (options_.sink) return;
  stderr_ = std::make_shared<spdlog::logger>(application_id_,
                                             std::make_shared<spdlog::sinks::stderr_sink_mt>());
  stderr_->set_level(spdlog_level(options_.level));
  stderr_->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l [%n] %v");
  stderr_->flush_on(spdlog::level::info);
}

Log::~Log() = default;

void Log::write(LogLevel level, std::string_view text) const {
  if (level < options_.level || options_.level == LogLevel::kOff) return;
  if (stderr_) {
    stderr_->log(spdlog_level(level), spdlog::string_view_t{text.data(), text.size()});
    return;
  }
  const std::lock_guard lock{mutex_};
  // Actors and librdkafka's threads end by what is thrown here.
  try {
    options_.sink(level, text);
  } catch (...) {
    std::cerr << application_id_ << ": " << text << " (the log's sink threw)\n";
  }
}

std::function<void(int, std::string_view, std::string_view)> Log::for_kafka() const {
  return [this](int syslog_level, std::string_view facility, std::string_view text) {
    constexpr int kSyslogError = 3;
    constexpr int kSyslogWarning = 4;
    constexpr int kSyslogInfo = 6;
    const LogLevel level = syslog_level <= kSyslogError     ? LogLevel::kError
                           : syslog_level == kSyslogWarning ? LogLevel::kWarn
                           : syslog_level <= kSyslogInfo    ? LogLevel::kInfo
                                                            : LogLevel::kDebug;
    write(level, "librdkafka " + std::string{facility} + ": " + std::string{text});
  };
}

}  // namespace millrace
