// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <utility>

namespace demo {
namespace {

constexpr std::size_t kLogLinesMax = 1000;  // Between two views.
constexpr std::chrono::milliseconds kPlainEvery{1000};
constexpr std::chrono::seconds kRateOver{2};

std::string bytes(std::int64_t count) {
  constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(count);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

std::int64_t whole(double value) { return static_cast<std::int64_t>(value); }

}  // namespace

double metric_sum(std::string_view exposition, std::string_view name, std::string_view label) {
  double sum = 0;
  while (!exposition.empty()) {
    const std::string_view line = exposition.substr(0, exposition.find('\n'));
    exposition.remove_prefix(std::min(exposition.size(), line.size() + 1));
    if (!line.starts_with(name)) continue;
    const std::string_view rest = line.substr(name.size());
    if (!rest.starts_with('{') && !rest.starts_with(' ')) continue;
    if (!label.empty() && rest.find(label) == std::string_view::npos) continue;
    sum += std::strtod(std::string{line.substr(line.rfind(' ') + 1)}.c_str(), nullptr);
  }
  return sum;
}

std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t end = text.size(); end > first + 3; end -= 3) text.insert(end - 3, 1, ',');
  return text;
}

Figures figures_of(const millrace::App& app, const Topics& topics) {
  const std::string text = app.metrics_text();
  const std::string payments = "topic=\"" + topics.payments.name() + "\"";
  const std::string alerts = "topic=\"" + topics.alerts.name() + "\"";
  const auto sum = [&](std::string_view name, std::string_view label = {}) {
    return whole(metric_sum(text, name, label));
  };
  return {.state = std::string{to_string(app.state())},
          .records_in = sum("millrace_records_consumed_total", payments),
          .committed = sum("millrace_consumer_committed_offset", payments),
          .lag = sum("millrace_consumer_lag_records", payments),
          .keys = sum("millrace_store_entries_estimate"),
          .disk_bytes = sum("millrace_store_disk_bytes"),
          .cache_bytes = sum("millrace_store_cache_bytes"),
          .commits = sum("millrace_commits_total", "result=\"ok\""),
          .alerts = sum("millrace_records_produced_total", alerts)};
}

Progress::Progress() : is_terminal_(isatty(STDOUT_FILENO) == 1) {}

void Progress::log(millrace::LogLevel level, std::string_view line) {
  const std::scoped_lock lock{mutex_};
  if (log_.size() >= kLogLinesMax) return;
  log_.push_back(std::string{to_string(level)} + ": " + std::string{line});
}

void Progress::print_log() {
  std::vector<std::string> lines;
  {
    const std::scoped_lock lock{mutex_};
    lines.swap(log_);
  }
  for (const auto& line : lines) std::cout << line << '\n';
}

// Records per second since the oldest sample that is kept.
double Progress::rate(Steady::time_point now, std::int64_t records_in) {
  if (records_in == 0) samples_.clear();  // Time before the first record does not count.
  samples_.emplace_back(now, records_in);
  while (samples_.size() > 2 && now - samples_[1].first >= kRateOver) samples_.pop_front();
  const auto& [since, records] = samples_.front();
  const double seconds = std::chrono::duration<double>(now - since).count();
  return seconds > 0
             ? static_cast<double>(std::max<std::int64_t>(records_in - records, 0)) / seconds
             : 0;
}

void Progress::show(const Figures& figures) {
  const auto now = Steady::now();
  if (!is_terminal_ && now - last_shown_ < kPlainEvery) return;
  last_shown_ = now;
  const double per_second = rate(now, figures.records_in);
  const auto elapsed = std::chrono::duration_cast<std::chrono::seconds>(now - begin_).count();
  const std::string line_end = is_terminal_ ? "\n\x1b[2K" : "   ";
  // The cursor goes back to the first line of the last view, which is written over.
  if (lines_shown_ > 0) std::cout << "\x1b[" << lines_shown_ << "A\x1b[J";
  print_log();
  std::cout << std::to_string(elapsed) << " s  " << figures.state << "  in "
            << grouped(figures.records_in) << "  " << grouped(whole(per_second)) << "/s  lag "
            << grouped(figures.lag) << line_end << "keys " << grouped(figures.keys) << "  store "
            << bytes(figures.disk_bytes) << " on disk, " << bytes(figures.cache_bytes)
            << " cached  commits " << grouped(figures.commits) << "  alerts "
            << grouped(figures.alerts) << '\n'
            << std::flush;
  if (is_terminal_) lines_shown_ = 2;
}

void Progress::finish() {
  lines_shown_ = 0;
  print_log();
  std::cout << std::flush;
}

}  // namespace demo
