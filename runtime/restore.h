// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/config.h"
#include "millrace/error.h"
#include "runtime/commit_point.h"
#include "runtime/task_engines.h"
#include "runtime/task_plan.h"

namespace millrace {

/// A record of a changelog. Borrowed.
struct LogRecord {
  std::int64_t offset = 0;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  Timestamp timestamp;
  bool withdrawn = false;  ///< It has the header of that name: the version is none.
};

/// Reads changelogs: from Kafka, or from the log of a test. Blocking.
class ChangelogReader {
 public:
  struct Ends {
    std::int64_t start = 0;  ///< The first offset that may still be there.
    std::int64_t end = 0;    ///< One past the last record.
  };

  /// A batch of records in the order of their offsets. Borrowed.
  using Apply = std::function<Status(std::span<const LogRecord>)>;

  virtual ~ChangelogReader() = default;

  /// Both ends of a partition, once no transaction is open on it (its last stable offset equals its
  /// end).
  virtual Result<Ends> ends(const TopicPartition& partition) = 0;

  /// Both ends as they are now for a reader of committed records: of topics that others write, on
  /// which there may always be an open transaction.
  virtual Result<Ends> ends_now(const TopicPartition& partition) = 0;

  /// Hands every record of [from, to) to `apply`, in order, at most kBatchRecordsMax at once.
  /// Returns when the position has reached `to`, whatever of the range compaction has left; never
  /// on silence. Stops early with the Status of `apply`.
  virtual Status read(const TopicPartition& partition, std::int64_t from, std::int64_t to,
                      const Apply& apply) = 0;

  static constexpr std::size_t kBatchRecordsMax = 128;
};

/// Is told how a restore goes on; may end it.
class RestoreObserver {
 public:
  virtual ~RestoreObserver() = default;
  /// Asked between batches.
  [[nodiscard]] virtual bool cancelled() const { return false; }
  /// The store's engine holds the changelog up to `position` (exclusive) of `end`.
  virtual void progress(std::size_t store, std::int64_t position, std::int64_t end) {
    static_cast<void>(store), static_cast<void>(position), static_cast<void>(end);
  }
};

struct RestoreSettings {
  std::uint64_t cluster = 0;      ///< Hash of the cluster id.
  std::uint64_t new_lineage = 0;  ///< A fresh random number, for a state that begins here.
  OffsetReset reset = OffsetReset::kEarliest;
  /// How long the broker keeps tombstones at least: an engine that is behind and older than half of
  /// it has missed some.
  std::chrono::milliseconds delete_retention = std::chrono::hours{24};
  /// How long the broker keeps what a record supersedes, at least, by changelog topic; without end
  /// for those that are not in it. Where the last commit is older, what the log does not show may
  /// have been lost.
  std::map<std::string, std::chrono::milliseconds> min_compaction_lags;
  /// Go on with what the log shows then.
  bool accept_unknown_values = false;
  /// Go on at the first record that is there where an input has lost the next ones.
  bool skip_lost_records = false;
  /// Changelogs are written in transactions, whose markers take offsets of their own.
  bool transactional = false;
  /// Changes collected before they are sorted and written to the engine.
  std::size_t batch_bytes_max = std::size_t{32} << 20;
};

/// What the restore of a store found.
struct StoreStart {
  std::int64_t restored_from = 0;  ///< First offset that was read.
  std::int64_t committed_end = 0;  ///< E: the engine holds the changelog up to here.
  std::int64_t examined_end = 0;   ///< L: up to here the log was looked through.
  std::uint64_t records = 0;       ///< Applied to the engine.
  std::vector<std::string>
      tail_keys;  ///< Engine keys of [E, L), which no commit covers: to be written again.
  /// Of the tail's keys, those whose committed values the log may have lost; at most.
  std::size_t unknown_values = 0;
  std::string rebuilt;  ///< Why the engine's content was discarded; empty if it was not.
  /// The store was taken out and is back: it is as the last commit with it left it, which is older
  /// than the inputs' offsets.
  bool missed_commits = false;
  /// The table was on its source topic and gets a changelog of its own: all its rows are written to
  /// it with the first commit.
  bool moves_from_source = false;
};

/// Records of an input that were deleted before they were processed: from the offset that the last
/// commit is at to the first that is there.
struct LostRecords {
  TopicPartition input;
  std::int64_t from = 0;
  std::int64_t to = 0;  ///< Exclusive.
};

/// Where a task starts: its commit point, and its engines at the committed ends.
struct TaskStart {
  CommitPoint point;
  std::vector<StoreStart> stores;  ///< In the order of the plan.
  std::vector<LostRecords> lost;   ///< Passed over, as the settings allow.
};

/// Finds the task's commit point, brings its engines to the committed ends and reads what lies
/// beyond.
///
/// invalid_argument: a person must decide (committed offsets, values or input lost, a store the
/// commit point does not know, or knows under another changelog); corruption: the log is shorter
/// than the commit point says; unavailable: the broker did not answer; cancelled.
Result<TaskStart> restore_task(const TaskPlan& plan, TaskEngines& engines,
                               const std::vector<CommittedOffset>& committed,
                               ChangelogReader& reader, const Clock& clock,
                               const RestoreSettings& settings, RestoreObserver& observer);

}  // namespace millrace
