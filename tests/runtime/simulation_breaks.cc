// SPDX-License-Identifier: Apache-2.0
//
// How a simulation lacks a rule: around the product's code, which has no switch for it.
#include <algorithm>
#include <utility>

#include "tests/runtime/simulation.h"

namespace millrace::testing {

void Simulation::break_parts() {
  sink_.drops_clock_records = broken(Break::kNoClockRecords);
  reader_.keeps_withdrawn = broken(Break::kWithdrawnVersionsStay);
  disk_->reads_lag = broken(Break::kReadsLag);
  if (broken(Break::kOldCheckpointUsed))
    harness_.restore_settings.delete_retention = std::chrono::hours{24 * 1000};
  if (broken(Break::kOtherLineageUsed)) {
    disk_->position_as = [this](StoreIndex, EnginePosition position) {
      const auto durable = harness_.durable();
      position.lineage = durable ? durable->lineage : harness_.restore_settings.new_lineage;
      return position;
    };
  }
  if (broken(Break::kAheadAccepted)) {
    disk_->position_as = [this](StoreIndex store, EnginePosition position) {
      if (harness_.durable())
        position.next_offset = std::min(position.next_offset, harness_.committed_end(store));
      return position;
    };
  }
  if (broken(Break::kRestoreOneShort)) {
    reader_.read_to = [this](const TopicPartition& where, std::int64_t from, std::int64_t to) {
      const auto durable = harness_.durable();
      const bool tail = !durable || from >= durable->changelog_ends.at(topic_hash(where.topic));
      return tail ? to : to - 1;
    };
  }
}

std::vector<CommittedOffset> Simulation::offsets_for_start() {
  const auto& log = harness_.log;
  auto committed = log.committed(harness_.plan.inputs);
  if (unstable_) committed = *std::exchange(unstable_, std::nullopt);
  switch (broken_) {
    case Break::kNoStartCommit:
    case Break::kLostOffsetsAreAStart: {
      if (harness_.durable()) break;
      const bool latest = harness_.restore_settings.reset == OffsetReset::kLatest;
      for (std::size_t i = 0; i < committed.size(); ++i) {
        if (!committed[i].offset) committed[i].offset = latest ? log_end(i) : 0;
      }
      break;
    }
    case Break::kAppliesTheWholeLog:
    case Break::kTruncationAccepted:
    case Break::kUnknownStoreAccepted:
      edit(committed, [&](CommitPoint& point) {
        for (const auto& store : harness_.plan.stores) {
          const auto end = static_cast<std::int64_t>(log.partition(store.changelog).size());
          auto& ends = point.changelog_ends;
          auto& covered = ends.try_emplace(store.changelog.topic, end).first->second;
          covered = broken(Break::kAppliesTheWholeLog) ? end : std::min(covered, end);
        }
      });
      break;
    case Break::kOtherClusterUsed:
      edit(committed,
           [&](CommitPoint& point) { point.cluster = harness_.restore_settings.cluster; });
      break;
    default:
      break;
  }
  return committed;
}

// Changes the commit points in the metadata.
void Simulation::edit(std::vector<CommittedOffset>& committed,
                      const std::function<void(CommitPoint&)>& change) const {
  for (auto& offset : committed) {
    const auto decoded = decode_metadata(offset.metadata);
    if (!decoded) continue;
    CommitPoint point{decoded->lineage,
                      decoded->cluster,
                      decoded->sequence,
                      decoded->committed_at,
                      {},
                      {},
                      {},
                      decoded->carried,
                      {}};
    for (const auto& input : harness_.plan.inputs) {
      const auto found = decoded->sources.find(topic_hash(input.topic));
      if (found != decoded->sources.end()) point.sources[input.topic] = found->second;
    }
    for (const auto& store : harness_.plan.stores) {
      const auto found = decoded->changelog_ends.find(topic_hash(store.changelog.topic));
      if (found == decoded->changelog_ends.end()) continue;
      point.changelog_ends[store.changelog.topic] = found->second;
      point.changelog_stores[store.changelog.topic] = decoded->changelog_stores.at(found->first);
    }
    if (const auto time = decode_partition_time(offset.metadata))
      point.partition_times[offset.input.topic] = *time;
    change(point);
    offset.metadata = *encode_metadata(point, offset.input.topic);
  }
}

Result<CommitPoint> Simulation::judge(const PreparedCommit& prepared) {
  const auto covering = [&](const std::function<std::int64_t(const ChangelogWrite&)>& end_of) {
    CommitPoint point = prepared.point;
    for (const auto& write : prepared.changelogs) {
      if (write.acks->produced() > 0) point.changelog_ends[write.changelog.topic] = end_of(write);
    }
    return point;
  };
  const auto last = [](const ChangelogWrite& write) { return write.acks->offset_max() + 1; };
  const auto count = [](const ChangelogWrite& write) {
    return write.examined_end + write.acks->produced();
  };
  if (broken(Break::kCommitBeforeAcks)) return covering(count);
  if (!prepared.answered()) return Status::unavailable("not answered");
  switch (broken_) {
    case Break::kNoFlush:
      return prepared.point;
    case Break::kNoContiguityCheck:
      return covering(last);
    case Break::kOffsetsBelowAccepted: {
      auto point = prepared.judge();
      if (!point && point.error().code() == Code::kCorruption) return covering(last);
      return point;
    }
    case Break::kUnknownOffsetsAccepted: {
      const auto& writes = prepared.changelogs;
      if (std::any_of(writes.begin(), writes.end(),
                      [](const auto& write) { return write.acks->unknown_offsets() > 0; })) {
        return covering(count);
      }
      return prepared.judge();
    }
    case Break::kMarkerNotCounted: {
      PreparedCommit uncounted = prepared;
      for (auto& write : uncounted.changelogs) {
        const auto& log = harness_.log.partition(write.changelog);
        const auto before = static_cast<std::size_t>(write.examined_end) - 1;
        if (write.examined_end > 0 && log[before].fate == MemoryLog::StoredRecord::Fate::kMarker)
          --write.examined_end;
      }
      return uncounted.judge();
    }
    default:
      return prepared.judge();
  }
}

void Simulation::land(const CommitPoint& point) {
  require(harness_.land(point), "a commit point does not fit");
  committed_at_ = harness_.clock.now();
  if (!broken(Break::kMetadataOnOneInput)) return;
  auto offsets = harness_.history.back();
  for (std::size_t i = 1; i < offsets.size(); ++i) offsets[i].metadata.clear();
  harness_.log.commit(offsets);
}

}  // namespace millrace::testing
