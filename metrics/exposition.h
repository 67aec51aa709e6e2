// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "metrics/registry_state.h"

namespace millrace::metrics {

/// The series of `state` as Prometheus text, version 0.0.4. Does not run the callbacks. The only
/// function that knows prometheus-cpp.
[[nodiscard]] std::string exposition(const detail::RegistryState& state);

}  // namespace millrace::metrics
