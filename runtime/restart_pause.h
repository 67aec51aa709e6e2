// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <random>

#include "millrace/config.h"

namespace millrace {

/// How long a task waits before its next attempt after `failures` (1 or more) in a row:
/// task_restart_backoff, doubled with each, up to task_restart_backoff_max; then a part of it by
/// chance, from a half to the whole, so that tasks that failed together do not come back together.
[[nodiscard]] std::chrono::milliseconds restart_pause(const Config& config, std::size_t failures,
                                                      std::mt19937_64& random);

}  // namespace millrace
