// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "millrace/error.h"
#include "millrace/time.h"
#include "stores/state_directory.h"

namespace millrace {

/// Finds the directories of tasks that have not been this instance's for a while, and takes them
/// out of use. Time counts from when this process first saw them without an owner. Used by one
/// thread.
class StateCleaner {
 public:
  /// `clock` is borrowed.
  StateCleaner(std::chrono::milliseconds delay, const Clock& clock)
      : delay_(delay), clock_(&clock) {}

  struct Removal {
    std::string task_id;
    std::filesystem::path set_aside;  ///< Where its files wait to be deleted, by the caller.
    std::chrono::milliseconds unused_for;
  };

  /// `owned`: ids of the tasks that are this instance's, in whatever state: running, being restored
  /// or closed. These, and those whose engine somebody has locked, are left alone.
  Result<std::vector<Removal>> look(StateDirectory& directory, const std::set<std::string>& owned);

 private:
  std::chrono::milliseconds delay_;
  const Clock* clock_;
  std::map<std::string, std::chrono::nanoseconds> unused_since_;
};

}  // namespace millrace
