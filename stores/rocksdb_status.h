// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/status.h>

#include <filesystem>
#include <string_view>

#include "millrace/error.h"

namespace millrace {

/// The one place that reads RocksDB's codes. `action` completes "cannot ...".
///
/// corruption: a checksum fails, or a file that the manifest names is missing. unavailable: the
/// disk is full. invalid_argument: another process has the database open, or the call was wrong.
/// internal: all else.
[[nodiscard]] Status to_status(const rocksdb::Status& status, std::string_view action,
                               const std::filesystem::path& directory);

/// Whether `DB::Resume()` and a second attempt may help: after a failed write RocksDB refuses
/// further ones until then.
[[nodiscard]] bool may_resume(const rocksdb::Status& status);

}  // namespace millrace
