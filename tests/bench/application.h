// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/measure.h"

namespace millrace::bench {

/// passthrough, count: an App from start() until all records are consumed and it has stopped, which
/// commits and checkpoints. Throws Error.
[[nodiscard]] Measurement run_application(const Options& options);

/// restore: lets a child process count with a commit after every few records, so that the changelog
/// has about one record for each of the input; removes the local state; and measures an App here
/// from start() to RUNNING. Throws Error.
[[nodiscard]] Measurement run_restore(const Options& options);

}  // namespace millrace::bench
