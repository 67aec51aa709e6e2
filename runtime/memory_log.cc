// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory_log.h"

#include <algorithm>

#include "runtime/withdrawn_version.h"

namespace millrace {

bool MemoryLog::StoredRecord::withdrawn() const {
  return std::ranges::any_of(headers,
                             [](const auto& header) { return header.name == kWithdrawnHeader; });
}

void MemoryLog::create_topic(const std::string& name, std::int32_t partitions) {
  if (find(name) != topics_.size()) return;
  topics_.push_back({name, std::vector<Partition>(static_cast<std::size_t>(partitions))});
}

std::size_t MemoryLog::find(const std::string& name) const {
  const auto found = std::find_if(topics_.begin(), topics_.end(),
                                  [&](const Log& log) { return log.name == name; });
  return static_cast<std::size_t>(found - topics_.begin());
}

std::int32_t MemoryLog::partitions(const std::string& topic) const {
  const std::size_t index = find(topic);
  return index == topics_.size() ? 0 : static_cast<std::int32_t>(topics_[index].partitions.size());
}

const MemoryLog::Partition& MemoryLog::partition(const TopicPartition& where) const {
  return topics_.at(find(where.topic)).partitions.at(static_cast<std::size_t>(where.partition));
}

void MemoryLog::append(const TopicPartition& where, StoredRecord record) {
  log_of(where).push_back(std::move(record));
}

void MemoryLog::clean(const TopicPartition& where, const Cleaner& cleaner) {
  using Fate = StoredRecord::Fate;
  Partition& log = log_of(where);
  if (log.empty()) return;
  const std::size_t active = (log.size() - 1) / cleaner.segment_records * cleaner.segment_records;
  std::size_t end = 0;
  for (; end < active; end += cleaner.segment_records) {
    const auto first = log.begin() + static_cast<std::ptrdiff_t>(end);
    if (std::any_of(first, first + static_cast<std::ptrdiff_t>(cleaner.segment_records),
                    [&](const auto& record) {
                      return record.fate == Fate::kOpen ||
                             record.timestamp > cleaner.now - cleaner.min_compaction_lag;
                    })) {
      break;
    }
  }
  std::map<std::string, std::size_t> last;
  for (std::size_t i = 0; i < end; ++i) {
    if (log[i].visible() && log[i].key) last[*log[i].key] = i;
  }
  for (std::size_t i = 0; i < end; ++i) {
    StoredRecord& record = log[i];
    if (!record.visible()) continue;
    const bool newest = record.key && last[*record.key] == i;
    if (newest && !record.value && !record.delete_horizon)
      record.delete_horizon = cleaner.now + cleaner.delete_retention;
    if (newest && (record.value || cleaner.now < *record.delete_horizon)) continue;
    record = {std::nullopt, std::nullopt, record.timestamp, {}, Fate::kCleaned};
  }
}

void MemoryLog::truncate(const TopicPartition& where, std::int64_t end) {
  log_of(where).resize(static_cast<std::size_t>(end));
}

void MemoryLog::commit(const std::vector<OffsetCommit>& offsets) {
  for (const auto& offset : offsets) commits_[offset.input] = offset;
}

std::vector<CommittedOffset> MemoryLog::committed(const std::vector<TopicPartition>& inputs) const {
  std::vector<CommittedOffset> result;
  for (const auto& input : inputs) {
    const auto found = commits_.find(input);
    if (found == commits_.end()) {
      result.push_back({input, std::nullopt, {}});
    } else {
      result.push_back({input, found->second.offset, found->second.metadata});
    }
  }
  return result;
}

Result<Sink::Topic> MemoryLog::topic(const std::string& name) {
  const std::size_t index = find(name);
  if (index == topics_.size())
    return Status::invalid_argument("topic '" + name + "' does not exist");
  return Topic{static_cast<std::uint32_t>(index), partitions(name)};
}

Status MemoryLog::produce(std::uint32_t topic, std::int32_t partition,
                          std::optional<std::string_view> key,
                          std::optional<std::string_view> value, Timestamp timestamp,
                          const Headers* headers, AckTracker& tracker) {
  tracker.on_produced();
  if (accept_ && *accept_ == 0) return {};
  if (accept_) --*accept_;
  auto& log = topics_.at(topic).partitions.at(static_cast<std::size_t>(partition));
  StoredRecord record{std::nullopt, std::nullopt, timestamp,
                      headers != nullptr ? *headers : Headers{}};
  if (key) record.key.emplace(*key);
  if (value) record.value.emplace(*value);
  log.push_back(std::move(record));
  if (open_) {
    log.back().fate = StoredRecord::Fate::kOpen;
    open_->records.push_back(&log.back());
    open_->partitions.insert(&log);
  }
  const bool hidden = hidden_ > 0;
  if (hidden) --hidden_;
  tracker.on_delivered(hidden ? -1 : static_cast<std::int64_t>(log.size()) - 1);
  return {};
}

void MemoryLog::end_transaction(bool commit) {
  if (!open_) return;
  using Fate = StoredRecord::Fate;
  for (auto* record : open_->records) record->fate = commit ? Fate::kCommitted : Fate::kAborted;
  for (auto* log : open_->partitions) {
    log->emplace_back();
    log->back().fate = Fate::kMarker;
  }
  open_.reset();
}

Result<ChangelogReader::Ends> MemoryLog::ends(const TopicPartition& where) {
  const auto start = starts_.find(where);
  return Ends{start == starts_.end() ? 0 : start->second,
              static_cast<std::int64_t>(partition(where).size())};
}

Status MemoryLog::read(const TopicPartition& where, std::int64_t from, std::int64_t to,
                       const Apply& apply) {
  const Partition& log = partition(where);
  const auto start = starts_.find(where);
  if (start != starts_.end() && from < std::min(start->second, to)) {
    return Status::corruption("cannot read " + to_string(where) + ": offset " +
                              std::to_string(from) + " is out of range");
  }
  std::vector<LogRecord> batch;
  for (std::int64_t offset = from; offset < to; ++offset) {
    const auto& record = log.at(static_cast<std::size_t>(offset));
    if (record.visible()) {
      batch.push_back({offset, record.key, record.value, record.timestamp, record.withdrawn()});
    }
    if (batch.empty() || (batch.size() < kBatchRecordsMax && offset + 1 < to)) continue;
    auto status = apply(batch);
    if (!status.ok()) return status;
    batch.clear();
  }
  return {};
}

}  // namespace millrace
