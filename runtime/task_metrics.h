// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include "millrace/context.h"
#include "millrace/metrics.h"
#include "runtime/task_plan.h"

namespace millrace {

/// The series of one task. They exist as long as the task does. Written by the task's thread.
class TaskMetrics {
 public:
  TaskMetrics(metrics::Registry& registry, const TaskPlan& plan);

  struct Input {
    metrics::Counter& consumed;
    metrics::Gauge& lag;
    metrics::Gauge& committed_offset;
  };
  struct Store {
    metrics::Gauge& entries;
    metrics::Gauge& disk_bytes;
    metrics::Gauge& cache_bytes;
    metrics::Gauge& dirty_bytes;
    metrics::Gauge& uncheckpointed_bytes;
    metrics::Counter& cache_hits;
    metrics::Counter& cache_misses;
    metrics::Counter& expired;
  };

  [[nodiscard]] Input& input(std::size_t index) { return inputs_[index]; }
  [[nodiscard]] Store& store(std::size_t index) { return stores_[index]; }
  [[nodiscard]] metrics::Counter& dropped(DropReason reason) {
    return *dropped_[static_cast<std::size_t>(reason)];
  }
  [[nodiscard]] metrics::Counter& dead_letters() { return *dead_letters_; }
  [[nodiscard]] metrics::Counter& retries() { return *retries_; }
  [[nodiscard]] metrics::Counter& produced(const std::string& topic);
  [[nodiscard]] metrics::Counter& changes() { return *changes_; }
  [[nodiscard]] metrics::Counter& checkpoints() { return *checkpoints_; }
  /// Longest time without progress while there was lag, in seconds.
  [[nodiscard]] metrics::Gauge& gap_seconds() { return *gap_seconds_; }

 private:
  metrics::Scope scope_;
  const std::string task_;
  std::vector<Input> inputs_;
  std::vector<Store> stores_;
  std::array<metrics::Counter*, 6> dropped_{};
  metrics::Counter* dead_letters_;
  metrics::Counter* retries_;
  metrics::Counter* changes_;
  metrics::Counter* checkpoints_;
  metrics::Gauge* gap_seconds_;
};

}  // namespace millrace
