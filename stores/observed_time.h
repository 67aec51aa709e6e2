// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millrace/key_layout.h"

namespace millrace {

/// The latest time ever put, as it stands in each place that the state itself passes through.
struct ObservedTime {
  std::int64_t live = KeyLayout::kNoTime;
  std::int64_t before_record = KeyLayout::kNoTime;
  std::int64_t in_flight = KeyLayout::kNoTime;
  std::int64_t committed = KeyLayout::kNoTime;
  std::int64_t in_engine = KeyLayout::kNoTime;
  std::int64_t leaving = KeyLayout::kNoTime;  ///< In the checkpoint that is being written.
};

}  // namespace millrace
