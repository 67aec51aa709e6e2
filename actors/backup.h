// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "actors/app_context.h"
#include "millrace/backup.h"

namespace millrace {

/// App::backup: one message to each task, one after the other. Blocks. Throws BackupError.
BackupReport make_backup(AppContext& app, const std::filesystem::path& directory,
                         const BackupListener& listener);

}  // namespace millrace
