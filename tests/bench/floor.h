// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/measure.h"

namespace millrace::bench {

/// What librdkafka alone costs: one loop over its batch API, no group, no state, no commits. With
/// `floor-copy` each record is also written to the output topic. Throws Error.
[[nodiscard]] Measurement run_floor(const Options& options);

}  // namespace millrace::bench
