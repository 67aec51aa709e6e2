// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace {

/// MurmurHash2, 32 bits, seed 0x9747b28c: the hash of Kafka's Java client.
[[nodiscard]] std::uint32_t murmur2(std::string_view bytes);

/// The partition that Java's default partitioner chooses for a key: (murmur2 & 0x7fffffff) %
/// partitions.
[[nodiscard]] inline std::int32_t partition_of(std::string_view key, std::int32_t partitions) {
  return static_cast<std::int32_t>((murmur2(key) & 0x7fffffffU) %
                                   static_cast<std::uint32_t>(partitions));
}

}  // namespace millrace
