// SPDX-License-Identifier: Apache-2.0
#include "millrace/engine.h"

namespace millrace {

Status Engine::backup(const std::filesystem::path& /*directory*/) {
  return Status::invalid_argument(
      "this engine cannot be backed up: the changelog has all it holds; for Redis, use its own "
      "snapshots");
}

Status EngineFactory::check_settings(const std::string& store, const EngineSettings& settings) {
  if (settings.empty()) return {};
  return Status::invalid_argument("store '" + store + "': engine " + std::string{name()} +
                                  " has no setting '" + settings.begin()->first +
                                  "' nor any other; remove it from engine_settings");
}

}  // namespace millrace
