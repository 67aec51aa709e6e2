// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millrace/engine.h"
#include "millrace/error.h"

namespace millrace {

/// The rule for the names of a task's stores in every engine that keeps them by name: not empty,
/// not one of the engine's own (`kReservedPrefix`), each once. Errors: invalid_argument.
[[nodiscard]] Status check_store_names(const EngineOptions& options);

/// The rule for a checkpoint's stores: each exists, each at most once. `engine` begins the message,
/// such as "LMDB at '/var/lib/x'". Errors: invalid_argument.
[[nodiscard]] Status check_stores(const Checkpoint& checkpoint, const EngineOptions& options,
                                  std::string_view engine);

}  // namespace millrace
