// SPDX-License-Identifier: Apache-2.0
#include "actors/app_context.h"

namespace millrace {

void TaskDirectory::add(TaskId id, TaskHandle handle) {
  const std::lock_guard lock{mutex_};
  tasks_.insert_or_assign(id, std::move(handle));
}

void TaskDirectory::remove(TaskId id) {
  const std::lock_guard lock{mutex_};
  tasks_.erase(id);
}

void TaskDirectory::clear() {
  const std::lock_guard lock{mutex_};
  tasks_.clear();
}

std::optional<TaskHandle> TaskDirectory::find(TaskId id) const {
  const std::lock_guard lock{mutex_};
  const auto found = tasks_.find(id);
  if (found == tasks_.end()) return std::nullopt;
  return found->second;
}

std::vector<std::pair<TaskId, TaskHandle>> TaskDirectory::of_subtopology(
    std::int32_t subtopology) const {
  const std::lock_guard lock{mutex_};
  std::vector<std::pair<TaskId, TaskHandle>> tasks;
  for (const auto& [id, handle] : tasks_) {
    if (id.subtopology == subtopology) tasks.emplace_back(id, handle);
  }
  return tasks;
}

}  // namespace millrace
