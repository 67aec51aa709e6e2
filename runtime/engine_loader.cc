// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine_loader.h"

#include <algorithm>

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

void EngineLoader::add(const LogRecord& record) {
  Item item{*record.key, std::nullopt};
  if (layout_.observes_time()) {
    if (!layout_.engine_key(*record.key, record.timestamp, key_))
      return;  // A stranger's: no store writes such a key.
    item.key = key_;
  }
  item.key = store(item.key);
  if (layout_.engine_value(record.value, record.timestamp, value_)) item.value = store(value_);
  items_.push_back(item);
}

// As the store did when it was put. What was removed again does not count: it may have been a
// stranger's record that was healed, whose time must not move ours.
void EngineLoader::observe(const std::vector<EngineChange>& changes) {
  for (const EngineChange& change : changes) {
    if (change.value) observed_ = std::max(observed_, layout_.time_of(change.key));
  }
}

Status EngineLoader::write(std::int64_t next_offset) {
  sort_by_key(items_, [](const Item& item) { return item.key; });
  std::vector<EngineChange> changes;
  changes.reserve(items_.size() + 1);
  for (const Item& item : items_) {
    if (!changes.empty() && changes.back().key == item.key)
      changes.pop_back();  // The later record of a key counts.
    changes.push_back({item.key, item.value});
  }
  StoreCheckpoint checkpoint{place_.index, {}, {lineage_, next_offset, clock_.now()}};
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
  items_.clear();
  blocks_.clear();
  bytes_ = room_ = 0;
  return status;
}

std::string_view EngineLoader::store(std::string_view bytes) {
  if (bytes.size() > room_) {
    room_ = std::max(bytes.size(), kBlockBytes);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(room_));
    end_ = blocks_.back().get();
    bytes_ += room_;
  }
  char* begin = end_;
  bytes.copy(begin, bytes.size());
  end_ += bytes.size();
  room_ -= bytes.size();
  return {begin, bytes.size()};
}

}  // namespace millrace
