// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "millrace/metrics.h"

namespace millrace::metrics {

/// The figures of this process under Prometheus' usual names (`process_cpu_seconds_total`, ...) and
/// `millrace_build_info`. Reads /proc at each exposition; a figure that cannot be read keeps its
/// last value. The series leave `registry` with this object.
class ProcessMetrics {
 public:
  ProcessMetrics(Registry& registry, std::string version);
  ~ProcessMetrics();
  ProcessMetrics(const ProcessMetrics&) = delete;
  ProcessMetrics& operator=(const ProcessMetrics&) = delete;

 private:
  void collect();

  Scope scope_;
  Gauge& resident_memory_;
  Gauge& virtual_memory_;
  Gauge& open_fds_;
  Gauge& max_fds_;
  Counter& cpu_nanos_;
  CollectHandle collecting_;  // Last: nothing collects while the others come and go.
};

}  // namespace millrace::metrics
