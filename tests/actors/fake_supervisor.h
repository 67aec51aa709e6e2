// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "actors/messages.h"

namespace millrace::testing {

using OnBroken = std::function<void(const std::vector<TaskFailure>&)>;

/// A Supervisor that only hands on whom the Committer says to have failed.
inline SupervisorHandle::behavior_type fake_supervisor(SupervisorHandle::pointer,
                                                       const OnBroken& on_broken) {
  return {
      [](start_atom) {},
      [](assigned_atom, const AssignmentChange&) {},
      [](revoked_atom, const AssignmentChange&) {},
      [](running_atom, TaskRef) {},
      [on_broken](failed_atom, const TaskFailure& failure) { on_broken({failure}); },
      [on_broken](broken_atom, const std::vector<TaskFailure>& writers) { on_broken(writers); },
      [](start_atom, TaskRef) {},
      [](fatal_atom, const Status&) {},
      [](settled_atom) {},
      [](tick_atom) {},
      [](check_atom) {},
      [](checked_atom) {},
      [](stop_atom) {},
  };
}

}  // namespace millrace::testing
