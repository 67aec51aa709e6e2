// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "millrace/app.h"
#include "millrace/config.h"
#include "millrace/topology.h"
#include "tests/integration/count_job.h"

namespace millrace::testing {

/// Collects the log of an App in this process.
class LogLines {
 public:
  [[nodiscard]] LogOptions options() {
    return {LogLevel::kInfo, [this](LogLevel, std::string_view line) { add(line); }};
  }
  void add(std::string_view line) {
    const std::lock_guard lock{mutex_};
    text_ += line;
    text_ += '\n';
  }
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock{mutex_};
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

/// The topology of examples/02_count over a job's topics: string keys, values not looked at, store
/// `counts`.
[[nodiscard]] Topology count_topology(const CountJob& job);

/// The configuration of an App in this process for a job, as CountJob::start gives to processes;
/// without HTTP.
[[nodiscard]] Config count_config(const CountJob& job, const std::string& instance, LogLines& log);

/// Everything in the store `counts`.
[[nodiscard]] Counts stored_counts(App& app);

}  // namespace millrace::testing
