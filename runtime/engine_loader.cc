// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine_loader.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <new>

#include "runtime/clock_record.h"
#include "stores/key_order.h"

namespace millrace {

Status EngineLoader::open() {
  if (!layout_.observes_time()) return {};
  auto record = place_.engine->get(place_.index, KeyLayout::kTimeKey);
  if (!record) return record.error();
  if (*record) observed_ = layout_.observed_time(**record).value_or(KeyLayout::kNoTime);
  observed_by_engine_ = observed_;
  return {};
}

std::size_t EngineLoader::add(std::span<const LogRecord> records) {
  // Independent lookups in a row let the processor overlap their cache misses, which dominate here.
  hashes_.clear();
  for (const LogRecord& record : records) {
    hashes_.push_back(engine_key(record) ? XXH3_64bits(key_.data(), key_.size()) : 0);
  }
  for (const std::uint64_t hash : hashes_) {
    const auto found = newest_.find(hash);
    if (found != newest_.end()) __builtin_prefetch(found->second, 1);
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (records[i].key && *records[i].key != kClockKey) ++count;
    if (engine_key(records[i])) collect(records[i], hashes_[i]);
  }
  return count;
}

// Sets `key_`. False: a clock record, or a stranger's; no store writes such a key.
bool EngineLoader::engine_key(const LogRecord& record) {
  if (!record.key || *record.key == kClockKey) return false;
  key_ = *record.key;
  if (!layout_.observes_time()) return true;
  if (!layout_.engine_key(*record.key, record.timestamp, key_bytes_)) return false;
  key_ = key_bytes_;
  return true;
}

void EngineLoader::collect(const LogRecord& record, std::uint64_t hash) {
  const bool present =
      !record.withdrawn && layout_.engine_value(record.value, record.timestamp, value_);
  const std::size_t size = present ? value_.size() : 0;
  Entry*& entry = newest_[hash];
  if (entry == nullptr || entry->key() != key_ || entry->value_room < size) {
    repeated_ = repeated_ || entry != nullptr;
    entry = make_entry(key_, size);
  }
  entry->value_size = present ? static_cast<std::uint32_t>(size) : Entry::kDeleted;
  if (present) value_.copy(entry->bytes() + entry->key_size, size);
}

EngineLoader::Entry* EngineLoader::make_entry(std::string_view key, std::size_t value_room) {
  constexpr std::size_t kAlign = alignof(Entry);
  const std::size_t bytes =
      (sizeof(Entry) + key.size() + value_room + kAlign - 1) / kAlign * kAlign;
  if (bytes > room_) {
    room_ = std::max(bytes, kBlockBytes);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(room_));
    end_ = blocks_.back().get();
    bytes_ += room_;
  }
  auto* entry = new (end_) Entry{static_cast<std::uint32_t>(key.size()),
                                 static_cast<std::uint32_t>(value_room), Entry::kDeleted};
  key.copy(entry->bytes(), key.size());
  end_ += bytes;
  room_ -= bytes;
  entries_.push_back(entry);
  return entry;
}

std::vector<EngineChange> EngineLoader::sorted_changes() {
  std::vector<EngineChange> changes;
  changes.reserve(entries_.size() + 1);
  for (Entry* entry : entries_) {
    changes.push_back({entry->key(), std::nullopt});
    if (entry->value_size != Entry::kDeleted) {
      changes.back().value.emplace(entry->bytes() + entry->key_size, entry->value_size);
    }
  }
  sort_by_key(changes, [](const EngineChange& change) { return change.key; });
  if (repeated_) {  // The latest entry of a key counts.
    const auto rest = std::unique(changes.rbegin(), changes.rend(),
                                  [](const auto& a, const auto& b) { return a.key == b.key; });
    changes.erase(changes.begin(), rest.base());
  }
  return changes;
}

// As the store did when it was put. What was removed again does not count: it may have been a
// stranger's record that was healed, whose time must not move ours.
void EngineLoader::observe(const std::vector<EngineChange>& changes) {
  for (const EngineChange& change : changes) {
    if (change.value) observed_ = std::max(observed_, layout_.time_of(change.key));
  }
}

Status EngineLoader::write(const EnginePosition& position) {
  auto changes = sorted_changes();
  StoreCheckpoint checkpoint{place_.index, {}, position};
  std::string expired_below;
  std::string time_record;
  if (layout_.observes_time()) {
    observe(changes);
    const bool moved = observed_ != observed_by_engine_;
    if (layout_.expires() && observed_ != KeyLayout::kNoTime) {
      expired_below = layout_.expired_below(observed_);
      std::erase_if(changes,
                    [&](const EngineChange& change) { return change.key < expired_below; });
      if (moved && observed_by_engine_ != KeyLayout::kNoTime)
        checkpoint.erase_below = expired_below;
    }
    time_record = layout_.time_record(observed_);
    if (moved) changes.insert(changes.begin(), {KeyLayout::kTimeKey, time_record});
  }
  checkpoint.changes = changes;
  auto status = place_.engine->apply({{&checkpoint, 1}, {}});
  observed_by_engine_ = observed_;
  entries_.clear();
  repeated_ = false;
  newest_.clear();
  blocks_.clear();
  bytes_ = room_ = 0;
  return status;
}

}  // namespace millrace
