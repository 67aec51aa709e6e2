// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/options.h"

namespace millrace::bench {

/// User and system time of this process since its start, all threads.
[[nodiscard]] double cpu_seconds();

/// The highest resident size of this process so far. Not getrusage's, which a process inherits from
/// the one that started it.
[[nodiscard]] double rss_max_mb();

/// The sum of the samples of one metric in a Prometheus exposition whose labels contain `label`.
[[nodiscard]] double metric_sum(std::string_view exposition, std::string_view name,
                                std::string_view label = {});

/// The quantile `q` of a histogram without labels of its own, as Prometheus' histogram_quantile:
/// interpolated within the bucket. nullopt: it has counted nothing.
[[nodiscard]] std::optional<double> histogram_quantile(std::string_view exposition,
                                                       std::string_view name, double q);

/// CPU time of each quarter of the records, without what came before the first of them.
class Quarters {
 public:
  Quarters(std::int64_t records) : records_(records) {}
  void seen(std::int64_t count);
  /// CPU seconds per million records of each quarter.
  [[nodiscard]] const std::vector<double>& per_million() const { return per_million_; }

 private:
  const std::int64_t records_;
  bool begun_ = false;
  double last_cpu_ = 0;
  std::int64_t last_count_ = 0;
  std::vector<double> per_million_;
};

struct Measurement {
  std::int64_t records = 0;
  std::chrono::duration<double> wall{};
  double cpu_s = 0;
  std::int64_t commits = 0;
  /// Seconds from the beginning of a commit to its end.
  std::optional<double> commit_p50_s;
  std::optional<double> commit_p99_s;
  std::vector<double> cpu_s_per_million_by_quarter;
};

/// One line of JSON. The names are those the peers' harness gives the same figures.
[[nodiscard]] std::string json_line(const Options& options, const Measurement& measured);

}  // namespace millrace::bench
