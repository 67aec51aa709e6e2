// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/error.h"
#include "millrace/key_layout.h"
#include "millrace/time.h"
#include "runtime/topic_partition.h"

namespace millrace {

/// The lineage of no commit point: all others are larger.
inline constexpr std::uint64_t kNoLineage = 0;

/// The committed end of a changelog whose store the task has no more: kept, so that the store is as
/// its last commit left it if it comes back.
struct CarriedEnd {
  std::uint64_t topic = 0;  ///< topic_hash
  std::uint32_t store = 0;  ///< store_hash
  std::int64_t end = 0;
};

/// What one offset commit makes durable for a task: how far its inputs are processed (S) and how
/// far each changelog holds the state that belongs to it (E). The invariant: folding each changelog
/// over [0, E) gives the state after S.
///
/// It is written as metadata on every input partition of the task, in one request.
struct CommitPoint {
  /// The history of the task's state: a random number made with its first commit point, copied on.
  std::uint64_t lineage = 0;
  /// Hash of the cluster id; a point mirrored to another cluster is not valid there.
  std::uint64_t cluster = 0;
  /// One more with each commit of the task.
  std::uint64_t sequence = 0;
  Timestamp committed_at{};
  /// Next offset of each input partition, by topic name; the partition number is the task's.
  std::map<std::string, std::int64_t> sources;
  /// Committed end of each changelog, by topic name.
  std::map<std::string, std::int64_t> changelog_ends;
  /// Whose they are: store_hash, by topic name; 0 or absent where it is not said.
  std::map<std::string, std::uint32_t> changelog_stores;
  /// The latest first, kCarriedEndsMax at most.
  std::vector<CarriedEnd> carried;
  /// Highest event time seen on each input, by topic name.
  std::map<std::string, Timestamp> partition_times;
};

/// The broker's default limit on the metadata of one partition's commit.
inline constexpr std::size_t kOffsetMetadataBytesMax = 4096;

/// Stores that were taken out and may come back; of more than these the oldest are forgotten.
inline constexpr std::size_t kCarriedEndsMax = 16;

/// A commit point as it stands in metadata: topics are known by the hash of their names only.
struct DecodedCommitPoint {
  std::uint64_t lineage = 0;
  std::uint64_t cluster = 0;
  std::uint64_t sequence = 0;
  Timestamp committed_at{};
  Timestamp partition_time{};
  std::map<std::uint64_t, std::int64_t> sources;
  std::map<std::uint64_t, std::int64_t> changelog_ends;
  std::map<std::uint64_t, std::uint32_t> changelog_stores;
  std::vector<CarriedEnd> carried;
};

/// What stands behind an input partition in the group: the committed offset (nullopt: none) and its
/// metadata.
struct CommittedOffset {
  TopicPartition input;
  std::optional<std::int64_t> offset;
  std::string metadata;
};

[[nodiscard]] std::uint64_t topic_hash(std::string_view topic);
/// Of a store's name; never 0.
[[nodiscard]] std::uint32_t store_hash(std::string_view store);

/// The metadata of `source`'s partition: Kafka Streams' own form (base64 of 0x02, partition time, 0
/// processors), with the commit point appended inside the base64, which its decoder ignores. Where
/// there is no room, what is carried is left out; invalid_argument if the rest is beyond
/// kOffsetMetadataBytesMax.
Result<std::string> encode_metadata(const CommitPoint& point, const std::string& source);

/// The commit point in `metadata`; nullopt if there is none (Java's, empty, damaged).
[[nodiscard]] std::optional<DecodedCommitPoint> decode_metadata(std::string_view metadata);

/// The partition time that Kafka Streams or we have left in `metadata`.
[[nodiscard]] std::optional<Timestamp> decode_partition_time(std::string_view metadata);

/// The valid commit points of a task's inputs, the one with the highest sequence first. Valid: made
/// on this cluster, and the offset it was stored with equals the one inside.
[[nodiscard]] std::vector<DecodedCommitPoint> valid_commit_points(
    const std::vector<CommittedOffset>& committed, std::uint64_t cluster);

/// The history that an engine's content is of: the task's, written by a store of this kind. Another
/// kind's entries stand under other keys.
[[nodiscard]] inline std::uint64_t engine_lineage(std::uint64_t lineage, StoreKind kind) {
  return lineage ^ static_cast<std::uint64_t>(kind);
}

}  // namespace millrace
