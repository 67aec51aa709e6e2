// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/merge_operator.h>
#include <rocksdb/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "millrace/error.h"

namespace millrace {

// Every checkpoint does two things to the positions, in the same atomic write as its data:
//
//   put   "millrace.checkpoint_number"  = n       u64, big-endian
//   merge "millrace.checkpoint_count"  += 1       u64, big-endian
//
// RocksDB recovers from what it finds: a manifest cut short, a log file lost or cut between two
// records shows nothing wrong, yet a later checkpoint may then stand without an earlier one. The
// count of those that are there tells.

inline constexpr std::string_view kCheckpointNumberKey = "millrace.checkpoint_number";
inline constexpr std::string_view kCheckpointCountKey = "millrace.checkpoint_count";

/// Adds big-endian 64-bit numbers.
[[nodiscard]] std::shared_ptr<rocksdb::MergeOperator> checkpoint_count_operator();

[[nodiscard]] std::string encode_checkpoint_number(std::uint64_t number);

/// The number of the last checkpoint, from the values of both keys (empty ones: there was none).
/// Errors: corruption if a checkpoint before it is missing.
[[nodiscard]] Result<std::uint64_t> verified_checkpoint_number(std::string_view number,
                                                               std::string_view count);

}  // namespace millrace
