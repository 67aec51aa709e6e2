// SPDX-License-Identifier: Apache-2.0
#include "actors/lifecycle.h"

#include <array>

namespace millrace {
namespace {

template <class State>
constexpr unsigned bit(State state) {
  return 1U << static_cast<unsigned>(state);
}

// Row: from. Bits: to.
constexpr std::array<unsigned, 7> kAppTransitions{
    bit(AppState::kRebalancing) | bit(AppState::kPendingShutdown) | bit(AppState::kStopped) |
        bit(AppState::kError),
    bit(AppState::kRestoring) | bit(AppState::kRunning) | bit(AppState::kPendingShutdown) |
        bit(AppState::kError),
    bit(AppState::kRunning) | bit(AppState::kRebalancing) | bit(AppState::kPendingShutdown) |
        bit(AppState::kError),
    bit(AppState::kRebalancing) | bit(AppState::kRestoring) | bit(AppState::kPendingShutdown) |
        bit(AppState::kError),
    bit(AppState::kStopped) | bit(AppState::kError),
    0U,
    0U,
};
constexpr std::array<unsigned, 6> kTaskTransitions{
    bit(TaskState::kRestoring) | bit(TaskState::kClosed),
    bit(TaskState::kRunning) | bit(TaskState::kClosed),
    bit(TaskState::kSuspended) | bit(TaskState::kClosed),
    bit(TaskState::kClosed),
    bit(TaskState::kCreated) | bit(TaskState::kParked),
    bit(TaskState::kClosed),
};

}  // namespace

std::string_view to_string(AppState state) {
  static constexpr std::array<std::string_view, 7> kNames{
      "CREATED", "REBALANCING", "RESTORING", "RUNNING", "PENDING_SHUTDOWN", "STOPPED", "ERROR"};
  return kNames.at(static_cast<std::size_t>(state));
}

std::string_view to_string(TaskState state) {
  static constexpr std::array<std::string_view, 6> kNames{"CREATED",   "RESTORING", "RUNNING",
                                                          "SUSPENDED", "CLOSED",    "PARKED"};
  return kNames.at(static_cast<std::size_t>(state));
}

bool is_transition(AppState from, AppState to) {
  return (kAppTransitions.at(static_cast<std::size_t>(from)) & bit(to)) != 0;
}

bool is_transition(TaskState from, TaskState to) {
  return (kTaskTransitions.at(static_cast<std::size_t>(from)) & bit(to)) != 0;
}

}  // namespace millrace
