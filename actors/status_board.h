// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "actors/lifecycle.h"
#include "actors/log.h"
#include "millrace/metrics.h"
#include "runtime/task_plan.h"

namespace millrace {

/// What /status tells of one task.
struct TaskStatus {
  struct Input {
    TopicPartition partition;
    std::int64_t position = -1;
    std::int64_t committed = -1;
    std::int64_t lag = -1;  ///< -1: not known yet.
  };
  struct Store {
    std::string name;
    std::string engine;
    std::uint64_t entries = 0;
    std::uint64_t disk_bytes = 0;
    std::int64_t restore_position = 0;
    std::int64_t restore_end = 0;
    double restore_eta_s = 0;
  };
  TaskState state = TaskState::kCreated;
  std::vector<Input> inputs;
  std::vector<Store> stores;
  std::uint64_t restarts = 0;
  std::string error;  ///< Of the last failure; empty if there was none.
};

/// The one place where states change, are logged and counted, and where others read them.
/// Thread-safe.
class StatusBoard {
 public:
  StatusBoard(const Log& log, metrics::Registry& registry);

  void set_app_state(AppState state, const std::string& why = {});
  [[nodiscard]] AppState app_state() const;
  [[nodiscard]] std::string error() const;
  /// False after `timeout`, or when `state` cannot come any more.
  bool wait_for(AppState state, std::chrono::milliseconds timeout) const;
  /// Waits for STOPPED or ERROR.
  bool wait_for_end(std::chrono::milliseconds timeout) const;
  /// Whether it has ever been RUNNING, for /startupz.
  [[nodiscard]] bool was_running() const;

  /// Whether the group has answered with a first assignment.
  void set_assigned();
  [[nodiscard]] bool was_assigned() const;

  void set_task_state(TaskId id, TaskState state);
  [[nodiscard]] TaskState task_state(TaskId id) const;
  void update_task(TaskId id, const std::function<void(TaskStatus&)>& change);
  void remove_task(TaskId id);
  [[nodiscard]] std::map<TaskId, TaskStatus> tasks() const;

 private:
  void count_states();

  const Log& log_;
  metrics::Registry& registry_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  AppState app_state_ = AppState::kCreated;
  bool was_running_ = false;
  bool was_assigned_ = false;
  std::string error_;
  std::map<TaskId, TaskStatus> tasks_;
};

}  // namespace millrace
