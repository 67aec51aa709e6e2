// SPDX-License-Identifier: Apache-2.0
#include "actors/status_board.h"

#include <array>

namespace millrace {
namespace {

bool is_end(AppState state) { return state == AppState::kStopped || state == AppState::kError; }

}  // namespace

StatusBoard::StatusBoard(const Log& log, metrics::Registry& registry)
    : log_(log), registry_(registry) {
  const std::lock_guard lock{mutex_};
  count_states();
}

void StatusBoard::set_app_state(AppState state, const std::string& why) {
  const std::lock_guard lock{mutex_};
  if (app_state_ == state) return;
  if (!is_transition(app_state_, state)) {
    log_.warn("state " + std::string{to_string(app_state_)} + " stays: no way to " +
              std::string{to_string(state)});
    return;
  }
  log_.write(state == AppState::kError ? LogLevel::kError : LogLevel::kInfo,
             "state " + std::string{to_string(app_state_)} + " -> " +
                 std::string{to_string(state)} + (why.empty() ? "" : ": " + why));
  app_state_ = state;
  was_running_ = was_running_ || state == AppState::kRunning;
  if (state == AppState::kError) error_ = why;
  count_states();
  changed_.notify_all();
}

AppState StatusBoard::app_state() const {
  const std::lock_guard lock{mutex_};
  return app_state_;
}

std::string StatusBoard::error() const {
  const std::lock_guard lock{mutex_};
  return error_;
}

bool StatusBoard::was_running() const {
  const std::lock_guard lock{mutex_};
  return was_running_;
}

void StatusBoard::set_assigned() {
  const std::lock_guard lock{mutex_};
  was_assigned_ = true;
}

bool StatusBoard::was_assigned() const {
  const std::lock_guard lock{mutex_};
  return was_assigned_;
}

bool StatusBoard::wait_for(AppState state, std::chrono::milliseconds timeout) const {
  std::unique_lock lock{mutex_};
  changed_.wait_for(lock, timeout, [&] { return app_state_ == state || is_end(app_state_); });
  return app_state_ == state;
}

bool StatusBoard::wait_for_end(std::chrono::milliseconds timeout) const {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, timeout, [&] { return is_end(app_state_); });
}

void StatusBoard::set_task_state(TaskId id, TaskState state) {
  const std::lock_guard lock{mutex_};
  TaskStatus& task = tasks_[id];
  if (task.state == state) return;
  if (!is_transition(task.state, state)) {
    log_.warn("task " + to_string(id) + ": no way from " + std::string{to_string(task.state)} +
              " to " + std::string{to_string(state)});
    return;
  }
  log_.info("task " + to_string(id) + " " + std::string{to_string(task.state)} + " -> " +
            std::string{to_string(state)});
  task.state = state;
  count_states();
}

TaskState StatusBoard::task_state(TaskId id) const {
  const std::lock_guard lock{mutex_};
  const auto found = tasks_.find(id);
  return found == tasks_.end() ? TaskState::kClosed : found->second.state;
}

void StatusBoard::update_task(TaskId id, const std::function<void(TaskStatus&)>& change) {
  const std::lock_guard lock{mutex_};
  const auto found = tasks_.find(id);
  if (found != tasks_.end()) change(found->second);
}

void StatusBoard::remove_task(TaskId id) {
  const std::lock_guard lock{mutex_};
  tasks_.erase(id);
  count_states();
}

std::map<TaskId, TaskStatus> StatusBoard::tasks() const {
  const std::lock_guard lock{mutex_};
  return tasks_;
}

void StatusBoard::count_states() {
  static constexpr std::array kApp{
      AppState::kCreated,         AppState::kRebalancing, AppState::kRestoring, AppState::kRunning,
      AppState::kPendingShutdown, AppState::kStopped,     AppState::kError};
  for (const AppState state : kApp) {
    registry_
        .gauge("millrace_state_info", "State of the app: 1 for the one it is in.",
               {{"state", std::string{to_string(state)}}})
        .set(state == app_state_ ? 1 : 0);
  }
  static constexpr std::array kTask{TaskState::kCreated, TaskState::kRestoring,
                                    TaskState::kRunning, TaskState::kSuspended,
                                    TaskState::kClosed,  TaskState::kParked};
  for (const TaskState state : kTask) {
    double count = 0;
    for (const auto& [id, task] : tasks_) count += task.state == state ? 1 : 0;
    registry_
        .gauge("millrace_tasks", "Tasks of this instance by state.",
               {{"state", std::string{to_string(state)}}})
        .set(count);
  }
}

}  // namespace millrace
