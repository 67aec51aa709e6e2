// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include "millrace/error.h"

namespace millrace {

/// The one place that reads LMDB's codes. `action` completes "cannot ...".
///
/// unavailable: disk full, file full, all readers taken, no memory for the map. corruption: pages
/// that are not what they should be. invalid_argument: a name LMDB does not take. internal: all
/// else.
[[nodiscard]] Status lmdb_status(int error, std::string_view action,
                                 const std::filesystem::path& directory);

/// Whether the environment is of no more use after this error: it has to be opened again.
[[nodiscard]] bool lmdb_must_reopen(int error);

}  // namespace millrace
