// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "millrace/key_layout.h"
#include "millrace/serde.h"
#include "millrace/state_cache.h"
#include "millrace/time.h"
#include "millrace/value_ops.h"

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

/// Makes the value of an engine value at `where`. What its serde throws is a Status, too.
inline Status decode_value(const ValueOps& ops, std::string_view engine_value, void* where) {
  try {
    return ops.decode(engine_value.substr(KeyLayout::kTimestampBytes), where);
  } catch (const std::exception& thrown) {
    return Status::internal(std::string{"its serde threw: "} + thrown.what());
  } catch (...) {
    return Status::internal("its serde threw something that is no std::exception");
  }
}

}  // namespace millrace
