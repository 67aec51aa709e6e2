// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string_view>

namespace millrace {

/// Which changelogs are made with: time enough for the next start to heal what an uncommitted
/// record supersedes, before the broker's compaction looks at it.
inline constexpr std::chrono::milliseconds kMinCompactionLag = std::chrono::minutes{10};

/// What can be counted on of a topic's `min.compaction.lag.ms`: nothing is kept back for longer,
/// and where there is none (0, Kafka's default) records of the clock's time still keep windows from
/// being deleted by age.
[[nodiscard]] constexpr std::chrono::milliseconds protected_time(std::chrono::milliseconds lag) {
  return lag.count() <= 0 || lag > kMinCompactionLag ? kMinCompactionLag : lag;
}

/// The key of a tombstone that stands for nothing but its timestamp, the wall clock's.
///
/// Brokers count the compaction lag and the retention in record time, so old records have no
/// protection; nothing behind a record within the lag is compacted. A restore passes it over. To
/// Kafka Streams it is the deletion of a key that is not there: in windows one that starts at 0, in
/// sessions one that ends there.
inline constexpr std::string_view kClockKey{
    "millrace-clock\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 34};

}  // namespace millrace
