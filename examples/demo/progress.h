// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bank.h"

namespace demo {

/// The sum of the samples of one metric in a Prometheus exposition. `label`, such as
/// `topic="payments"`, picks samples. 0 if there is none.
double metric_sum(std::string_view exposition, std::string_view name, std::string_view label = {});

/// "1,234,567".
std::string grouped(std::int64_t number);

/// What the demo shows, taken from the application's own metrics.
struct Figures {
  std::string state;
  std::int64_t records_in = 0;
  std::int64_t committed = 0;  ///< Of records_in, by the committed offsets: the topics are new.
  std::int64_t lag = 0;
  std::int64_t keys = 0;
  std::int64_t disk_bytes = 0;
  std::int64_t cache_bytes = 0;
  std::int64_t commits = 0;
  std::int64_t alerts = 0;
};
Figures figures_of(const millrace::App& app, const Topics& topics);

/// Figures on stdout: redrawn in place on a terminal, else a line each second. Log lines of the
/// application are kept until the next figures and appear above them.
class Progress {
 public:
  Progress();
  /// Shows what has been logged.
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// For Config::log. Any thread.
  void log(millrace::LogLevel level, std::string_view line);

  void show(const Figures& figures);
  /// Shows what has been logged and leaves the last figures where they are.
  void finish();

 private:
  using Steady = std::chrono::steady_clock;
  void print_log();
  double rate(Steady::time_point now, std::int64_t records_in);

  const bool is_terminal_;
  const Steady::time_point begin_ = Steady::now();
  Steady::time_point last_shown_{};
  std::deque<std::pair<Steady::time_point, std::int64_t>> samples_;  // Records in, the last 2 s.
  std::size_t lines_shown_ = 0;

  std::mutex mutex_;  // Guards log_.
  std::vector<std::string> log_;
};

}  // namespace demo
