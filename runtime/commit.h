// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "millrace/error.h"
#include "runtime/commit_point.h"
#include "runtime/kafka/ack_tracker.h"
#include "runtime/task_plan.h"

namespace millrace {

/// One partition of an offset commit.
struct OffsetCommit {
  TopicPartition input;
  std::int64_t offset = 0;
  std::string metadata;
};

/// The changes of one store in a commit: written to its changelog, not yet judged.
struct ChangelogWrite {
  TopicPartition changelog;
  /// Where the first record must land: the end that is known to hold nothing foreign.
  std::int64_t examined_end = 0;
  std::shared_ptr<const AckTracker> acks;
};

/// A commit whose records are produced: what must be acknowledged before its offsets may be
/// committed.
///
/// Made by Task on its thread, then read by whoever completes the commit. Immutable but for the
/// trackers.
struct PreparedCommit {
  TaskId task;
  /// The commit point to be, with the old changelog ends.
  CommitPoint point;
  std::vector<TopicPartition> inputs;
  std::vector<ChangelogWrite> changelogs;
  std::shared_ptr<const AckTracker> outputs;
  /// Exactly-once: why the task could not write all of it. It is not to be committed; the trackers
  /// may know the cause.
  Status refusal;

  /// Whether every output and every change has its answer, good or bad.
  [[nodiscard]] bool answered() const;

  /// The commit point with its new ends, once all is answered. unavailable: something was not
  /// delivered, or a foreign record lies between our own; drop the task's uncommitted state and
  /// start it from its commit point, which reads the foreign records and writes their keys again.
  /// cancelled: it failed with its transaction, of which nothing here is the cause.
  [[nodiscard]] Result<CommitPoint> judge() const;

 private:
  [[nodiscard]] Status undelivered() const;
};

/// The request that makes `point` durable: its metadata on every input.
Result<std::vector<OffsetCommit>> offsets_to_commit(const CommitPoint& point,
                                                    const std::vector<TopicPartition>& inputs);

}  // namespace millrace
