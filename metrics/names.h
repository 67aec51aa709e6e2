// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "millrace/metrics.h"

namespace millrace::metrics {

enum class Kind { kCounter, kGauge, kHistogram };

/// Throws std::logic_error unless `name` follows the rules of metric names that are written at
/// Registry.
void check_metric_name(std::string_view name, Kind kind);

/// The labels of a series: its own and the `constant` ones it does not have, sorted by name,
/// without empty values, all values valid UTF-8. Throws std::logic_error for a bad or repeated
/// name.
[[nodiscard]] Labels normalized(Labels labels, const Labels& constant);

/// `text` with each byte that is no part of valid UTF-8 replaced by U+FFFD.
[[nodiscard]] std::string valid_utf8(std::string_view text);

}  // namespace millrace::metrics
