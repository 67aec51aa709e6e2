// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/commit.h"
#include "runtime/restore.h"
#include "runtime/sink.h"

namespace millrace {

/// A Kafka of the mind: topics, partitions, offsets and one group's commits in memory, for the test
/// driver and the simulator. Every record is acknowledged at once.
class MemoryLog final : public Sink, public ChangelogReader {
 public:
  struct StoredRecord {
    std::optional<std::string> key;
    std::optional<std::string> value;
    Timestamp timestamp;
    Headers headers;
    /// What a read_committed reader is shown of it: kCommitted ones only.
    enum class Fate : std::uint8_t { kCommitted, kOpen, kAborted, kMarker, kCleaned };
    Fate fate = Fate::kCommitted;
    /// Of a tombstone that the cleaner has seen: when it may go.
    std::optional<Timestamp> delete_horizon = {};

    [[nodiscard]] bool visible() const { return fate == Fate::kCommitted; }
    [[nodiscard]] bool withdrawn() const;  ///< By its header.
  };
  /// The index is the offset. Records stay where they are while others are appended: batches borrow
  /// them.
  using Partition = std::deque<StoredRecord>;

  void create_topic(const std::string& name, std::int32_t partitions);
  [[nodiscard]] std::int32_t partitions(const std::string& topic) const;
  [[nodiscard]] const Partition& partition(const TopicPartition& where) const;
  void append(const TopicPartition& where, StoredRecord record);

  /// A broker's compaction: its settings and its clock.
  struct Cleaner {
    Timestamp now;
    std::chrono::milliseconds min_compaction_lag;
    std::chrono::milliseconds delete_retention;
    std::size_t segment_records = 1;  ///< So many make a segment.
  };
  /// Takes what a later record of the key supersedes, and tombstones `delete_retention` after they
  /// were first seen here. Offsets stay. As on a broker it looks at whole segments, and at none
  /// from the first on that holds a record whose own timestamp is within the lag, an open
  /// transaction, or the end of the log.
  void clean(const TopicPartition& where, const Cleaner& cleaner);
  /// Takes everything from `end` on, as a leader that has it not, or a new topic of the same name
  /// (0). Precondition: no transaction is open.
  void truncate(const TopicPartition& where, std::int64_t end);

  void commit(const std::vector<OffsetCommit>& offsets);
  [[nodiscard]] std::vector<CommittedOffset> committed(
      const std::vector<TopicPartition>& inputs) const;
  void forget_commits() { commits_.clear(); }
  void forget_commit(const TopicPartition& input) { commits_.erase(input); }

  /// From now on what is produced belongs to a transaction ...
  void begin_transaction() { open_.emplace(); }
  /// ... until here, where each partition that it wrote to gets a marker. Nothing if there is none.
  void end_transaction(bool commit);

  /// From now on this many records are accepted and the rest vanish unacknowledged, as when the
  /// writer dies.
  void lose_after(std::optional<std::size_t> records) { accept_ = records; }

  /// Acknowledgements of the next records do not tell where they landed, as of a retry that the
  /// broker knew.
  void hide_offsets(std::size_t records) { hidden_ = records; }

  Result<Topic> topic(const std::string& name) override;
  std::shared_ptr<AckTracker> new_tracker() override { return std::make_shared<AckTracker>(); }
  Status produce(std::uint32_t topic, std::int32_t partition, std::optional<std::string_view> key,
                 std::optional<std::string_view> value, Timestamp timestamp, const Headers* headers,
                 AckTracker& tracker) override;

  Result<Ends> ends(const TopicPartition& partition) override;
  Result<Ends> ends_now(const TopicPartition& partition) override { return ends(partition); }
  /// Records before this offset are deleted, as by their age.
  void delete_before(const TopicPartition& partition, std::int64_t start) {
    starts_[partition] = start;
  }
  Status read(const TopicPartition& partition, std::int64_t from, std::int64_t to,
              const Apply& apply) override;

 private:
  struct Log {
    std::string name;
    std::vector<Partition> partitions;
  };
  [[nodiscard]] std::size_t find(const std::string& name) const;
  [[nodiscard]] Partition& log_of(const TopicPartition& where) {
    return topics_.at(find(where.topic)).partitions.at(static_cast<std::size_t>(where.partition));
  }

  struct Open {
    std::vector<StoredRecord*> records;
    std::set<Partition*> partitions;
  };

  std::vector<Log> topics_;
  std::optional<Open> open_;
  std::map<TopicPartition, OffsetCommit> commits_;
  std::map<TopicPartition, std::int64_t> starts_;
  std::optional<std::size_t> accept_;
  std::size_t hidden_ = 0;
};

}  // namespace millrace
