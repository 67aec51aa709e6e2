// SPDX-License-Identifier: Apache-2.0
#include "runtime/commit.h"

#include <algorithm>

namespace millrace {

bool PreparedCommit::answered() const {
  return outputs->done() && std::all_of(changelogs.begin(), changelogs.end(),
                                        [](const auto& write) { return write.acks->done(); });
}

// The failure that tells most: what was refused after the transaction had failed does not tell why.
Status PreparedCommit::undelivered() const {
  Status told = refusal;
  const auto look = [&](const AckTracker& acks, const char* what) {
    auto status = acks.status();
    if (status.ok() || is_cause(told) || (!told.ok() && !is_cause(status))) return;
    told = {status.code(),
            "task " + to_string(task) + ": " + what + " was not delivered: " + status.message()};
  };
  look(*outputs, "an output");
  for (const auto& write : changelogs) look(*write.acks, "a change");
  return told;
}

Result<CommitPoint> PreparedCommit::judge() const {
  if (auto status = undelivered(); !status.ok()) return status;
  CommitPoint next = point;
  for (const auto& write : changelogs) {
    if (write.acks->produced() == 0) continue;
    if (write.acks->unknown_offsets() == 0 && write.acks->offset_min() >= 0 &&
        write.acks->offset_min() < write.examined_end) {
      return Status::corruption(
          "task " + to_string(task) + ": a change landed at " + to_string(write.changelog) + "@" +
          std::to_string(write.acks->offset_min()) + ", below the end " +
          std::to_string(write.examined_end) +
          " that was read before: the changelog was truncated or made anew while running");
    }
    // E may never pass a record that is not ours: a crash would then restore it as committed.
    if (!write.acks->contiguous_from(write.examined_end)) {
      return Status::unavailable(
          "task " + to_string(task) + ": between the changes written to " +
          to_string(write.changelog) + " from offset " + std::to_string(write.examined_end) +
          " on are records of another writer; the task starts again and writes their keys anew");
    }
    next.changelog_ends[write.changelog.topic] = write.examined_end + write.acks->produced();
  }
  return next;
}

Result<std::vector<OffsetCommit>> offsets_to_commit(const CommitPoint& point,
                                                    const std::vector<TopicPartition>& inputs) {
  std::vector<OffsetCommit> offsets;
  for (const auto& input : inputs) {
    auto metadata = encode_metadata(point, input.topic);
    if (!metadata) return metadata.error();
    offsets.push_back({input, point.sources.at(input.topic), *std::move(metadata)});
  }
  return offsets;
}

}  // namespace millrace
