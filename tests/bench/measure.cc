// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/measure.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace millrace::bench {
namespace {

constexpr double kMillion = 1e6;
constexpr double kMillis = 1e3;
constexpr int kQuarters = 4;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / kMillion;
}

// So that a line stays readable; the measurement is no better.
double rounded(double value, double steps = 1000) { return std::round(value * steps) / steps; }

}  // namespace

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double rss_max_mb() {
  constexpr std::string_view kField = "VmHWM:";
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(kField)) return std::strtod(line.c_str() + kField.size(), nullptr) / 1024;
  }
  return 0;
}

double metric_sum(std::string_view exposition, std::string_view name, std::string_view label) {
  double sum = 0;
  while (!exposition.empty()) {
    const std::string_view line = exposition.substr(0, exposition.find('\n'));
    exposition.remove_prefix(std::min(exposition.size(), line.size() + 1));
    if (!line.starts_with(name)) continue;
    const std::string_view rest = line.substr(name.size());
    if (!rest.starts_with('{') && !rest.starts_with(' ')) continue;
    if (rest.find(label) == std::string_view::npos) continue;
    sum += std::strtod(std::string{line.substr(line.rfind(' ') + 1)}.c_str(), nullptr);
  }
  return sum;
}

std::optional<double> histogram_quantile(std::string_view exposition, std::string_view name,
                                         double q) {
  const std::string bucket = std::string{name} + "_bucket{";
  constexpr std::string_view kBound = "le=\"";
  std::vector<std::pair<double, double>> cumulative;  // Upper bounds, as the exposition has them.
  for (auto at = exposition.find(bucket); at != std::string_view::npos;
       at = exposition.find(bucket, at + 1)) {
    const std::string line{exposition.substr(at, exposition.find('\n', at) - at)};
    cumulative.emplace_back(std::strtod(line.c_str() + line.find(kBound) + kBound.size(), nullptr),
                            std::strtod(line.c_str() + line.rfind(' '), nullptr));
  }
  if (cumulative.empty() || cumulative.back().second == 0) return std::nullopt;
  const double rank = q * cumulative.back().second;
  double lower = 0;
  double before = 0;
  for (const auto& [upper, count] : cumulative) {
    if (count >= rank && count > before) {
      return std::isinf(upper) ? lower
                               : lower + (upper - lower) * (rank - before) / (count - before);
    }
    lower = upper;
    before = count;
  }
  return lower;
}

void Quarters::seen(std::int64_t count) {
  if (count <= last_count_) return;
  const double cpu = cpu_seconds();
  if (!begun_) {
    begun_ = true;
    last_cpu_ = cpu;
    last_count_ = count;
    return;
  }
  const auto next = static_cast<std::int64_t>(per_million_.size()) + 1;
  if (next > kQuarters || count < records_ * next / kQuarters) return;
  per_million_.push_back(
      rounded((cpu - last_cpu_) * kMillion / static_cast<double>(count - last_count_)));
  last_cpu_ = cpu;
  last_count_ = count;
}

std::string json_line(const Options& options, const Measurement& measured) {
  const auto records = static_cast<double>(measured.records);
  nlohmann::ordered_json line{
      {"peer", options.workload.starts_with("floor-") ? "librdkafka" : "millrace"},
      {"workload", options.workload},
      {"guarantee", options.guarantee},
      {"store", options.store},
      {"threads", options.threads},
      {"records", measured.records},
      {"wall_s", rounded(measured.wall.count())},
      {"cpu_s", rounded(measured.cpu_s)},
      {"cpu_s_per_million", rounded(measured.cpu_s * kMillion / std::max(records, 1.0))},
      {"records_per_s", std::llround(records / std::max(measured.wall.count(), 1e-9))},
      {"rss_max_mb", rounded(rss_max_mb(), 10)},
      {"commits", measured.commits}};
  if (measured.commit_p50_s) line["commit_p50_ms"] = rounded(*measured.commit_p50_s * kMillis, 100);
  if (measured.commit_p99_s) line["commit_p99_ms"] = rounded(*measured.commit_p99_s * kMillis, 100);
  if (!measured.cpu_s_per_million_by_quarter.empty()) {
    line["cpu_s_per_million_by_quarter"] = measured.cpu_s_per_million_by_quarter;
  }
  return line.dump();
}

}  // namespace millrace::bench
