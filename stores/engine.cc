// SPDX-License-Identifier: Apache-2.0
#include "millrace/engine.h"

namespace millrace {

Status Engine::backup(const std::filesystem::path& /*directory*/) {
  return Status::invalid_argument(
      "this engine cannot be backed up: the changelog has all it holds; for Redis, use its own "
      "snapshots");
}

}  // namespace millrace
