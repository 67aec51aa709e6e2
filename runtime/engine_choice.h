// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "millrace/config.h"
#include "millrace/engine.h"

namespace millrace {

/// The engine that `Config::engine` names, with its settings. Precondition: the config has no
/// problems.
[[nodiscard]] std::shared_ptr<EngineFactory> make_engine(const Config& config);

}  // namespace millrace
