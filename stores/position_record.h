// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "millrace/engine.h"
#include "millrace/error.h"

namespace millrace {

// How engines on disk keep a store's position, under the store's name (integers big-endian):
//
//   +---------+-----------+---------------+-------------------------+
//   | version | lineage   | next_offset   | checkpointed_at         |
//   | 1 byte  | u64       | i64           | i64, ms since the epoch |
//   +---------+-----------+---------------+-------------------------+
//
// and the source offsets of the last checkpoint, under `kSourceOffsetsKey`:
//
//   +---------+-------+--------------------------------------------+
//   | version | count | count times: length | name         | offset |
//   | 1 byte  | u32   |              u32    | length bytes | i64    |
//   +---------+-------+--------------------------------------------+
//
// A reader that does not know the version reports corruption: the state is rebuilt from the log.

/// Names that begin so are the engine's own; no store may have one.
inline constexpr std::string_view kReservedPrefix = "millrace.";
inline constexpr std::string_view kSourceOffsetsKey = "millrace.source_offsets";

[[nodiscard]] std::string encode_position(const EnginePosition& position);
/// Errors: corruption.
[[nodiscard]] Result<EnginePosition> decode_position(std::string_view bytes);

[[nodiscard]] std::string encode_source_offsets(const std::map<std::string, std::int64_t>& offsets);
/// Errors: corruption.
[[nodiscard]] Result<std::map<std::string, std::int64_t>> decode_source_offsets(
    std::string_view bytes);

}  // namespace millrace
