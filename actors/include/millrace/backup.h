// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace millrace {

/// What a backup holds of one task: one consistent cut, at a commit.
struct TaskBackup {
  std::string task;  ///< "0_3".
  /// By changelog partition ("bank-accounts-changelog-3"): the next record that the backup lacks. A
  /// restart from the backup replays from here.
  std::map<std::string, std::int64_t> changelog_positions;
  /// By input partition: the committed source offset that belongs to the state.
  std::map<std::string, std::int64_t> source_offsets;
};

/// A finished backup.
struct BackupReport {
  std::filesystem::path directory;
  std::vector<TaskBackup> tasks;
};

/// Told after each task, in the thread that called App::backup.
struct BackupProgress {
  const TaskBackup& last;
  std::size_t done = 0;
  std::size_t total = 0;
};
using BackupListener = std::function<void(const BackupProgress&)>;

}  // namespace millrace
