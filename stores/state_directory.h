// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/error.h"
#include "stores/file_descriptor.h"
#include "stores/file_lock.h"

namespace millrace {

/// The directory in which one process keeps the engines of its tasks:
///
///   <state_dir>/<application_id>/LOCK          held while this object lives; the owner's process
///   id
///                                VERSION       "millrace 1\n<application_id>\n"
///                                INSTANCE      what tells this instance from others, for ever
///                                0_3/rocksdb/  a task's engine
///                                discarded.*   on its way out
///
/// All directories are made with mode 0700. `state_dir` itself may be a symbolic link or a mounted
/// volume of any owner; the application's directory and what is in it may not.
///
/// Thread-safe, but for two calls about one task at the same time.
class StateDirectory {
 public:
  /// Creates or takes over the directory.
  ///
  /// Errors: invalid_argument (in use by another process; made by another application or a newer
  /// version; not a directory, not writable, unsafe owner or mode), unavailable (disk full),
  /// internal.
  static Result<StateDirectory> open(const std::filesystem::path& state_dir,
                                     const std::string& application_id);

  /// `<state_dir>/<application_id>`, absolute.
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// 16 hexadecimal digits, made at random by the first call and kept as long as the directory.
  /// invalid_argument if the file that keeps it is damaged.
  [[nodiscard]] Result<std::string> instance_id() const;

  /// The directory of a task's engine, created if need be. `task_id` as in "0_3".
  Result<std::filesystem::path> task_directory(std::string_view task_id,
                                               std::string_view engine_name);

  /// Removes a task's engine with its files; the engine must be closed. After a crash in between
  /// the directory is either whole or gone. No error if there is none.
  Status discard(std::string_view task_id, std::string_view engine_name);

  /// Takes a task's directory out of use, atomically, and returns where its files now are; the
  /// caller deletes them, or the next `open` does. The task's engines must be closed.
  Result<std::filesystem::path> set_aside(std::string_view task_id);

  /// Whether a process holds the lock of one of the task's engines. Do not ask for a task whose
  /// engines this process has open: closing any descriptor of a lock file gives up RocksDB's lock
  /// on it.
  [[nodiscard]] bool is_locked(std::string_view task_id) const;

  /// Ids of the tasks that have a directory, in ascending order of the text.
  [[nodiscard]] Result<std::vector<std::string>> tasks() const;

 private:
  StateDirectory(std::filesystem::path path, FileDescriptor directory, FileLock lock);

  [[nodiscard]] Status check_version(const std::string& application_id) const;
  [[nodiscard]] Status write_version(const std::string& application_id) const;
  /// The content of a small file; nullopt if there is none.
  [[nodiscard]] Result<std::optional<std::string>> read_file(const char* name) const;
  /// Whole or not at all, whatever crashes.
  [[nodiscard]] Status write_file(const std::string& name, const std::string& text) const;
  Status remove_discarded();

  std::filesystem::path path_;
  FileDescriptor directory_;
  FileLock lock_;
};

}  // namespace millrace
