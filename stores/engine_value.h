// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "millrace/key_layout.h"
#include "millrace/serde.h"
#include "millrace/state_cache.h"
#include "millrace/time.h"

namespace millrace {

/// The timestamp of an engine value: 8 bytes in milliseconds, big endian, before the value as its
/// serde encodes it. Throws StoreFailure if it is shorter.
inline Timestamp timestamp_of(std::string_view engine_value) {
  if (engine_value.size() < KeyLayout::kTimestampBytes) {
    throw StoreFailure(
        Status::internal("a stored value cannot be decoded: shorter than its timestamp"));
  }
  return from_millis(
      *Serde<std::int64_t>::decode(engine_value.substr(0, KeyLayout::kTimestampBytes)));
}

}  // namespace millrace
