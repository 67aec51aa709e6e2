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
    observe(record, key_);
    item.key = key_;
  }
  item.key = store(item.key);
  if (layout_.engine_value(record.value, record.timestamp, value_)) item.value = store(value_);
  items_.push_back(item);
}

// As the store did when it was put. Null values of windows and sessions do not count: one may have
// healed a stranger's record, whose time must not move ours.
void EngineLoader::observe(const LogRecord& record, std::string_view engine_key) {
  if (!record.value && layout_.expires()) return;
  observed_ = std::max(observed_, layout_.time_of(engine_key));
}

Status EngineLoader::write(std::int64_t next_offset) {
  const std::string time_record =
      layout_.observes_time() ? layout_.time_record(observed_) : std::string{};
  if (observed_ != observed_by_engine_) items_.push_back({KeyLayout::kTimeKey, time_record});
  sort_by_key(items_, [](const Item& item) { return item.key; });

  const bool expires = layout_.expires() && observed_ != KeyLayout::kNoTime;
  const std::string expired_below = expires ? layout_.expired_below(observed_) : std::string{};
  std::vector<EngineChange> changes;
  changes.reserve(items_.size());
  for (const Item& item : items_) {
    if (item.key < expired_below && item.key != KeyLayout::kTimeKey) continue;
    if (!changes.empty() && changes.back().key == item.key)
      changes.pop_back();  // The later record of a key counts.
    changes.push_back({item.key, item.value});
  }
  StoreCheckpoint checkpoint{place_.index, changes, {lineage_, next_offset, clock_.now()}};
  if (observed_by_engine_ != KeyLayout::kNoTime && observed_ != observed_by_engine_)
    checkpoint.erase_below = expired_below;
  if (!expires) checkpoint.erase_below.reset();
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
