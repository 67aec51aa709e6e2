// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace millrace::bench {

/// From now on SIGINT and SIGTERM only make `throw_if_interrupted` throw, so that a run that is
/// given up still deletes its topics and state.
void catch_interrupts();

/// Whether one of them came. Any thread.
[[nodiscard]] bool interrupted();

/// Throws std::runtime_error once one of them came. Called by every loop that waits.
void throw_if_interrupted();

}  // namespace millrace::bench
