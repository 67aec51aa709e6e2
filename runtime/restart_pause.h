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

/// Failures in a row with one more, after `before`: this one is the first of a new row if its
/// attempt has committed that its inputs went on, or has run for ten times
/// task_restart_backoff_max, as a task without input does.
[[nodiscard]] std::size_t failures_in_row(const Config& config, std::size_t before, bool progressed,
                                          std::chrono::nanoseconds ran);

}  // namespace millrace
