// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "millrace/app.h"

namespace millrace {

/// The life of a task:
///
///     CREATED -> RESTORING -> RUNNING -> SUSPENDED -> CLOSED <-> PARKED
///        |           |           |                      ^
///        +-----------+-----------+----------------------+     (revoked, lost, failed)
///
/// CLOSED -> CREATED: the next attempt. PARKED: failed for good (`on_task_failure = park`).
enum class TaskState : std::uint8_t {
  kCreated,
  kRestoring,
  kRunning,
  kSuspended,
  kClosed,
  kParked
};

[[nodiscard]] std::string_view to_string(TaskState state);

/// Whether the diagrams of AppState and TaskState have this arrow.
[[nodiscard]] bool is_transition(AppState from, AppState to);
[[nodiscard]] bool is_transition(TaskState from, TaskState to);

}  // namespace millrace
