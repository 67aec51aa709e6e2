// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "stores/file_descriptor.h"

namespace millrace {

/// A locked file that holds the owner's process id as text. Let go by the destructor and by the end
/// of the process, however it ends; the file stays.
///
/// The lock belongs to the open file, not to the process: two owners in one process exclude each
/// other too.
class FileLock {
 public:
  struct Refusal {
    int error = 0;           ///< errno; 0 if another owner has the lock.
    std::string process_id;  ///< Of the other owner; empty if it has not written it yet.
  };

  /// Opens or creates `name` in an open directory and locks it without waiting. On refusal says why
  /// in `refusal`.
  static std::optional<FileLock> acquire(const FileDescriptor& directory, const std::string& name,
                                         Refusal& refusal);

 private:
  explicit FileLock(FileDescriptor file) : file_(std::move(file)) {}

  FileDescriptor file_;
};

}  // namespace millrace
