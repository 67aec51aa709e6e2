// SPDX-License-Identifier: Apache-2.0
#include "stores/memory_engine.h"

#include <utility>

namespace millrace {
namespace {

using Entries = std::map<std::string, std::string, std::less<>>;

/// What a node of the map costs beside the bytes of key and value: three links, a colour, two
/// strings.
constexpr std::size_t kEntryBytes = 4 * sizeof(void*) + 2 * sizeof(std::string);

class MemoryScan final : public EngineScan {
 public:
  MemoryScan(std::shared_ptr<const Entries> entries, std::optional<std::string_view> from,
             std::optional<std::string_view> to)
      : entries_(std::move(entries)), next_(entries_->begin()), end_(entries_->end()) {
    if (from && to && *from > *to) {
      next_ = end_;
      return;
    }
    if (from) next_ = entries_->lower_bound(*from);
    if (to) end_ = entries_->upper_bound(*to);
  }

  bool valid() const override { return next_ != end_; }
  void next() override { ++next_; }
  std::string_view key() const override { return next_->first; }
  std::string_view value() const override { return next_->second; }
  Status status() const override { return {}; }

 private:
  std::shared_ptr<const Entries> entries_;
  Entries::const_iterator next_;
  Entries::const_iterator end_;
};

class MemoryEngineFactory final : public EngineFactory {
 public:
  std::string_view name() const override { return "memory"; }
  bool persistent() const override { return false; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    return std::unique_ptr<Engine>{std::make_unique<MemoryEngine>(options.stores.size())};
  }
};

}  // namespace

MemoryEngine::MemoryEngine(std::size_t store_count) : stores_(store_count) {}

Status MemoryEngine::check(StoreIndex store) const {
  if (closed_) return Status::internal("the memory engine is closed");
  if (store < stores_.size()) return {};
  return Status::invalid_argument("the memory engine has no store number " + std::to_string(store));
}

Result<std::optional<std::string>> MemoryEngine::get(StoreIndex store, std::string_view key) {
  if (auto status = check(store); !status.ok()) return status;
  const Entries& entries = *stores_[store].entries;
  const auto entry = entries.find(key);
  if (entry == entries.end()) return std::optional<std::string>{};
  return std::optional<std::string>{entry->second};
}

Status MemoryEngine::multi_get(StoreIndex store, std::span<const std::string_view> keys,
                               std::span<std::optional<std::string>> values) {
  if (auto status = check(store); !status.ok()) return status;
  if (keys.size() != values.size()) {
    return Status::invalid_argument("multi_get needs one value per key");
  }
  const Entries& entries = *stores_[store].entries;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto entry = entries.find(keys[i]);
    values[i] = entry == entries.end() ? std::nullopt : std::optional{entry->second};
  }
  return {};
}

Result<std::unique_ptr<EngineScan>> MemoryEngine::scan(StoreIndex store,
                                                       std::optional<std::string_view> from,
                                                       std::optional<std::string_view> to) {
  if (auto status = check(store); !status.ok()) return status;
  return std::unique_ptr<EngineScan>{
      std::make_unique<MemoryScan>(stores_[store].entries, from, to)};
}

Status MemoryEngine::apply(const Checkpoint& checkpoint) {
  if (closed_) return check(0);
  for (const StoreCheckpoint& part : checkpoint.stores) {
    if (auto status = check(part.store); !status.ok()) return status;
  }
  for (const StoreCheckpoint& part : checkpoint.stores) {
    Store& store = stores_[part.store];
    if ((!part.changes.empty() || part.erase_below) && store.entries.use_count() > 1) {
      store.entries = std::make_shared<Entries>(*store.entries);
    }
    if (part.erase_below) erase_below(store, *part.erase_below);
    for (const EngineChange& entry : part.changes) change(store, entry);
    store.position = part.position;
  }
  source_offsets_ = checkpoint.source_offsets;
  return {};
}

void MemoryEngine::erase_below(Store& store, std::string_view bound) {
  Entries& entries = *store.entries;
  const auto end = entries.lower_bound(bound);
  for (auto entry = entries.begin(); entry != end; entry = entries.erase(entry)) {
    store.bytes -= entry->first.size() + entry->second.size() + kEntryBytes;
  }
}

void MemoryEngine::change(Store& store, const EngineChange& change) {
  Entries& entries = *store.entries;
  const auto place = entries.lower_bound(change.key);
  const bool found = place != entries.end() && place->first == change.key;
  if (found) store.bytes -= place->second.size();
  if (change.value) {
    store.bytes += change.value->size();
    if (found) {
      place->second.assign(*change.value);
    } else {
      entries.emplace_hint(place, change.key, *change.value);
      store.bytes += change.key.size() + kEntryBytes;
    }
  } else if (found) {
    store.bytes -= change.key.size() + kEntryBytes;
    entries.erase(place);
  }
}

Result<std::optional<EnginePosition>> MemoryEngine::position(StoreIndex store) {
  if (auto status = check(store); !status.ok()) return status;
  return stores_[store].position;
}

Result<std::map<std::string, std::int64_t>> MemoryEngine::source_offsets() {
  if (closed_) return check(0);
  return source_offsets_;
}

Status MemoryEngine::clear(StoreIndex store) {
  if (auto status = check(store); !status.ok()) return status;
  stores_[store] = Store{};
  return {};
}

EngineStatistics MemoryEngine::statistics(StoreIndex store) {
  if (!check(store).ok()) return {};
  return {.entries_estimate = stores_[store].entries->size(),
          .disk_bytes = 0,
          .memory_bytes = stores_[store].bytes};
}

Status MemoryEngine::close() {
  closed_ = true;
  stores_.clear();
  source_offsets_.clear();
  return {};
}

namespace engines {

std::shared_ptr<EngineFactory> memory() { return std::make_shared<MemoryEngineFactory>(); }

}  // namespace engines
}  // namespace millrace
