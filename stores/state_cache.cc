// SPDX-License-Identifier: Apache-2.0
#include "millrace/state_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstring>
#include <deque>
#include <new>

#include "stores/change_set.h"
#include "stores/key_order.h"

namespace millrace {
namespace {

// Index slot, ring slot and allocator overhead of an entry, for the budget.
constexpr std::size_t kEntryOverheadBytes = 40;

// However small the budget: changes are collected up to this before they ask for a commit.
constexpr std::size_t kChangesBytesMin = std::size_t{1} << 20;

// A hash is spread already: the map needs no second one.
struct SpreadHash {
  using is_avalanching = void;
  std::size_t operator()(std::uint64_t hash) const { return hash; }
};

std::uint64_t hash_of(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

// Engine values: 8 bytes timestamp in milliseconds, big endian, then the value as its serde encodes it.
constexpr std::size_t kTimestampBytes = sizeof(std::int64_t);

Timestamp read_timestamp(std::string_view engine_value) {
  return from_millis(*Serde<std::int64_t>::decode(engine_value.substr(0, kTimestampBytes)));
}

std::size_t aligned(std::size_t bytes) {
  return (bytes + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) * alignof(std::max_align_t);
}

// What an entry was before the current record touched it.
struct Saved {
  StateEntry* entry;
  Timestamp timestamp;
  bool present;
  std::unique_ptr<char[]> value;
};

}  // namespace

struct StateCache::Impl {
  Impl(Engine& the_engine, StoreIndex the_store, const ValueOps& the_ops, CacheBudget& the_budget)
      : engine(the_engine), store(the_store), ops(the_ops), budget(the_budget) {
    ++budget.caches;
    auto position = engine.position(store);
    engine_empty = position.has_value() && !position->has_value() && engine.statistics(store).entries_estimate == 0;
  }

  Engine& engine;
  const StoreIndex store;
  const ValueOps& ops;
  CacheBudget& budget;

  boost::unordered_flat_map<std::uint64_t, StateEntry*, SpreadHash> index;
  std::vector<StateEntry*> ring;
  std::size_t hand = 0;

  std::vector<StateEntry*> dirty;
  std::vector<StateEntry*> pinned;  // Entries with a committed change that the engine lacks.
  std::unique_ptr<ChangeSet> in_flight;
  std::vector<StateEntry*> in_flight_entries;  // One per change of `in_flight`.
  std::deque<std::unique_ptr<ChangeSet>> committed;
  std::size_t committed_bytes = 0;

  bool recording = false;
  std::vector<Saved> saved;
  std::size_t dirty_before_record = 0;

  std::int64_t extra_entries = 0;  // Entries that exist minus those of them in the engine.
  bool engine_empty = false;  // Nothing was ever checkpointed: lookups need not ask.
  std::size_t bytes = 0;
  std::size_t bytes_reported = 0;
  std::size_t dirty_bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::string scratch;

  StateEntry* find(std::string_view key, std::uint64_t hash) const {
    const auto it = index.find(hash);
    if (it == index.end()) return nullptr;
    StateEntry* entry = it->second;
    while (entry != nullptr && entry->key() != key) entry = entry->same_hash_;
    return entry;
  }

  std::size_t entry_bytes(const StateEntry& entry) const {
    return aligned(sizeof(StateEntry)) + aligned(ops.size) + entry.key_size_ + entry.heap_bytes_ + kEntryOverheadBytes;
  }

  StateEntry& insert(std::string_view key, std::uint64_t hash) {
    const std::size_t head = aligned(sizeof(StateEntry));
    char* block = static_cast<char*>(::operator new(head + aligned(ops.size) + key.size()));
    auto* entry = new (block) StateEntry;
    entry->hash_ = hash;
    entry->storage_ = block + head;
    char* key_copy = block + head + aligned(ops.size);
    key.copy(key_copy, key.size());
    entry->key_ = key_copy;
    entry->key_size_ = static_cast<std::uint32_t>(key.size());
    entry->ring_index_ = static_cast<std::uint32_t>(ring.size());
    ring.push_back(entry);
    auto [it, fresh] = index.try_emplace(hash, entry);
    if (!fresh) {
      entry->same_hash_ = it->second;
      it->second = entry;
    }
    bytes += entry_bytes(*entry);
    return *entry;
  }

  void free(StateEntry* entry) {
    if (entry->present_ && !ops.trivially_copyable) ops.destroy(entry->storage_);
    entry->~StateEntry();
    ::operator delete(static_cast<void*>(entry));
  }

  void remove(StateEntry* entry) {
    extra_entries -= static_cast<std::int64_t>(entry->present_) - static_cast<std::int64_t>(entry->in_engine_);
    bytes -= entry_bytes(*entry);
    const auto it = index.find(entry->hash_);
    if (it->second == entry && entry->same_hash_ == nullptr) {
      index.erase(it);
    } else {
      StateEntry** link = &it->second;
      while (*link != entry) link = &(*link)->same_hash_;
      *link = entry->same_hash_;
    }
    StateEntry* last = ring.back();
    ring[entry->ring_index_] = last;
    last->ring_index_ = entry->ring_index_;
    ring.pop_back();
    free(entry);
  }

  void set_heap_bytes(StateEntry& entry, std::size_t value) {
    if (ops.trivially_copyable) return;
    bytes -= entry.heap_bytes_;
    entry.heap_bytes_ = static_cast<std::uint32_t>(value);
    bytes += entry.heap_bytes_;
  }

  void set_present(StateEntry& entry, bool present) {
    extra_entries += static_cast<std::int64_t>(present) - static_cast<std::int64_t>(entry.present_);
    entry.present_ = present;
  }

  void set_in_engine(StateEntry& entry, bool in_engine) {
    extra_entries -= static_cast<std::int64_t>(in_engine) - static_cast<std::int64_t>(entry.in_engine_);
    entry.in_engine_ = in_engine;
  }

  // Gives `entry` the value that an engine or a change set holds for it.
  void assign(StateEntry& entry, std::optional<std::string_view> engine_value) {
    if (entry.present_ && !ops.trivially_copyable) ops.destroy(entry.storage_);
    set_present(entry, false);
    if (!engine_value) return;
    if (engine_value->size() < kTimestampBytes) throw StoreFailure(undecodable(entry, "shorter than its timestamp"));
    const auto status = ops.decode(engine_value->substr(kTimestampBytes), entry.storage_);
    if (!status.ok()) throw StoreFailure(undecodable(entry, status.message()));
    set_present(entry, true);
    entry.timestamp_ = read_timestamp(*engine_value);
    set_heap_bytes(entry, engine_value->size());
  }

  static Status undecodable(const StateEntry& entry, const std::string& why) {
    return Status::internal("a stored value cannot be decoded (key of " + std::to_string(entry.key_size_) +
                            " bytes): " + why + "; the value's type has changed since it was written: keep its "
                            "serde compatible, or reset the application");
  }

  StateEntry& load_from_engine(std::string_view key, std::uint64_t hash) {
    ++misses;
    if (engine_empty) return insert(key, hash);
    auto found = engine.get(store, key);
    if (!found) throw StoreFailure(found.error());
    StateEntry& entry = insert(key, hash);
    if (*found) assign(entry, **found);
    set_in_engine(entry, entry.present_);
    return entry;
  }

  void mark(StateEntry& entry) {
    if (recording && !entry.saved_) save(entry);
    if (!entry.dirty_) {
      entry.dirty_ = true;
      dirty.push_back(&entry);
      dirty_bytes += entry_bytes(entry);
    }
  }

  void save(StateEntry& entry) {
    Saved old{&entry, entry.timestamp_, entry.present_, nullptr};
    if (entry.present_) {
      old.value = std::make_unique_for_overwrite<char[]>(ops.size);
      ops.copy(entry.storage_, old.value.get());
    }
    entry.saved_ = true;
    saved.push_back(std::move(old));
  }

  bool evictable(const StateEntry& entry) const {
    return !entry.dirty_ && entry.in_flight_ == nullptr && entry.committed_ == nullptr;
  }

  void report_bytes() {
    budget.bytes_used += bytes - bytes_reported;  // Unsigned wrap-around makes a decrease of it.
    bytes_reported = bytes;
  }
};

StateCache::StateCache(Engine& engine, StoreIndex store, const ValueOps& ops, CacheBudget& budget)
    : impl_(std::make_unique<Impl>(engine, store, ops, budget)) {}

StateCache::~StateCache() {
  for (const auto& old : impl_->saved) {
    if (old.present && !impl_->ops.trivially_copyable) impl_->ops.destroy(old.value.get());
  }
  for (StateEntry* entry : impl_->ring) impl_->free(entry);
  impl_->budget.bytes_used -= impl_->bytes_reported;
  --impl_->budget.caches;
}

StateEntry& StateCache::load(std::string_view key) {
  const std::uint64_t hash = hash_of(key);
  if (StateEntry* entry = impl_->find(key, hash)) {
    ++impl_->hits;
    entry->referenced_ = true;
    return *entry;
  }
  return impl_->load_from_engine(key, hash);
}

void StateCache::prefetch(std::span<const std::string_view> keys) {
  // Independent lookups in a row let the processor overlap their cache misses, which a loop over records cannot.
  static thread_local std::vector<std::uint64_t> hashes;
  static thread_local std::vector<std::size_t> missing;
  hashes.resize(keys.size());
  missing.clear();
  for (std::size_t i = 0; i < keys.size(); ++i) hashes[i] = hash_of(keys[i]);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto it = impl_->index.find(hashes[i]);
    if (it == impl_->index.end()) {
      missing.push_back(i);
    } else {
      __builtin_prefetch(it->second, 1);
    }
  }
  if (missing.empty() || impl_->engine_empty) return;

  std::vector<std::string_view> wanted;
  for (const std::size_t i : missing) wanted.push_back(keys[i]);
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  std::vector<std::optional<std::string>> values(wanted.size());
  const auto status = impl_->engine.multi_get(impl_->store, wanted, values);
  if (!status.ok()) throw StoreFailure(status);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    ++impl_->misses;
    StateEntry& entry = impl_->insert(wanted[i], hash_of(wanted[i]));
    if (values[i]) impl_->assign(entry, *values[i]);
    impl_->set_in_engine(entry, entry.present_);
  }
}

void* StateCache::change(StateEntry& entry, Timestamp timestamp) {
  impl_->mark(entry);
  entry.timestamp_ = timestamp;
  return entry.storage_;
}

void* StateCache::replace(StateEntry& entry, Timestamp timestamp) {
  impl_->mark(entry);
  if (entry.present_ && !impl_->ops.trivially_copyable) impl_->ops.destroy(entry.storage_);
  impl_->set_present(entry, true);
  entry.timestamp_ = timestamp;
  return entry.storage_;
}

void StateCache::erase(StateEntry& entry, Timestamp timestamp) {
  impl_->mark(entry);
  if (entry.present_ && !impl_->ops.trivially_copyable) impl_->ops.destroy(entry.storage_);
  impl_->set_present(entry, false);
  entry.timestamp_ = timestamp;
  impl_->set_heap_bytes(entry, 0);
}

std::span<StateEntry* const> StateCache::dirty() const { return impl_->dirty; }

void StateCache::begin_record() {
  impl_->recording = true;
  impl_->dirty_before_record = impl_->dirty.size();
}

void StateCache::keep_record() {
  impl_->recording = false;
  for (auto& old : impl_->saved) {
    old.entry->saved_ = false;
    if (old.present && !impl_->ops.trivially_copyable) impl_->ops.destroy(old.value.get());
  }
  impl_->saved.clear();
}

void StateCache::undo_record() {
  const auto& ops = impl_->ops;
  for (auto& old : impl_->saved) {
    StateEntry& entry = *old.entry;
    entry.saved_ = false;
    if (entry.present_ && !ops.trivially_copyable) ops.destroy(entry.storage_);
    impl_->set_present(entry, old.present);
    entry.timestamp_ = old.timestamp;
    if (!old.present) continue;
    ops.copy(old.value.get(), entry.storage_);
    if (!ops.trivially_copyable) ops.destroy(old.value.get());
  }
  impl_->saved.clear();
  while (impl_->dirty.size() > impl_->dirty_before_record) {
    impl_->dirty.back()->dirty_ = false;
    impl_->dirty_bytes -= std::min(impl_->dirty_bytes, impl_->entry_bytes(*impl_->dirty.back()));
    impl_->dirty.pop_back();
  }
  impl_->recording = false;
}

void StateCache::log_again(std::string_view key, Timestamp timestamp_if_absent) {
  StateEntry& entry = load(key);
  impl_->mark(entry);
  if (!entry.present_) entry.timestamp_ = timestamp_if_absent;
}

std::span<const Change> StateCache::prepare() {
  Impl& my = *impl_;
  my.in_flight = std::make_unique<ChangeSet>(my.dirty.size());
  for (StateEntry* entry : my.dirty) {
    entry->dirty_ = false;
    if (entry->present_) {
      my.scratch.clear();
      Serde<std::int64_t>::encode(to_millis(entry->timestamp_), my.scratch);
      my.ops.encode(entry->storage_, my.scratch);
      my.set_heap_bytes(*entry, my.scratch.size());
      entry->in_flight_ = &my.in_flight->add(entry->key(), my.scratch, entry->timestamp_);
    } else {
      entry->in_flight_ = &my.in_flight->add_deletion(entry->key(), entry->timestamp_);
    }
  }
  my.in_flight_entries.clear();
  my.in_flight_entries.swap(my.dirty);
  my.dirty_bytes = 0;
  return my.in_flight->changes();
}

void StateCache::committed() {
  Impl& my = *impl_;
  if (!my.in_flight) return;
  for (StateEntry* entry : my.in_flight_entries) {
    if (entry->committed_ == nullptr) my.pinned.push_back(entry);
    entry->committed_ = entry->in_flight_;
    entry->in_flight_ = nullptr;
  }
  if (!my.in_flight->changes().empty()) {
    my.committed_bytes += my.in_flight->bytes();
    my.committed.push_back(std::move(my.in_flight));
  }
  my.in_flight.reset();
}

void StateCache::roll_back() {
  Impl& my = *impl_;
  std::vector<StateEntry*> touched = std::move(my.dirty);
  my.dirty.clear();
  my.dirty_bytes = 0;
  if (my.in_flight) {
    for (StateEntry* entry : my.in_flight_entries) {
      entry->in_flight_ = nullptr;
      if (!entry->dirty_) touched.push_back(entry);
    }
  }
  for (StateEntry* entry : touched) {
    entry->dirty_ = false;
    if (const Change* change = entry->committed_) {
      my.assign(*entry, change->deleted ? std::nullopt : std::optional{change->engine_value});
      entry->timestamp_ = change->timestamp;
    } else {
      my.remove(entry);  // The engine holds its committed value.
    }
  }
  my.in_flight.reset();
}

std::vector<EngineChange> StateCache::uncheckpointed() {
  std::vector<EngineChange> changes;
  changes.reserve(impl_->pinned.size());
  for (const StateEntry* entry : impl_->pinned) {
    const Change& change = *entry->committed_;
    changes.push_back({change.key, change.deleted ? std::nullopt : std::optional{change.engine_value}});
  }
  sort_by_key(changes, [](const EngineChange& change) { return change.key; });
  return changes;
}

void StateCache::checkpointed() {
  for (StateEntry* entry : impl_->pinned) {
    impl_->set_in_engine(*entry, !entry->committed_->deleted);
    entry->committed_ = nullptr;
  }
  impl_->engine_empty = impl_->engine_empty && impl_->pinned.empty();
  impl_->pinned.clear();
  impl_->committed.clear();
  impl_->committed_bytes = 0;
}

std::size_t StateCache::uncheckpointed_bytes() const { return impl_->committed_bytes; }

void StateCache::trim() {
  Impl& my = *impl_;
  my.report_bytes();
  // Two turns of the hand at most: the first may only clear reference bits.
  std::size_t steps = my.ring.size() * 2;
  while (my.budget.bytes_used > my.budget.bytes_max && steps > 0 && !my.ring.empty()) {
    for (int i = 0; i < 64 && steps > 0 && !my.ring.empty(); ++i, --steps) {
      if (my.hand >= my.ring.size()) my.hand = 0;
      StateEntry* entry = my.ring[my.hand];
      if (!my.evictable(*entry)) {
        ++my.hand;
      } else if (entry->referenced_) {
        entry->referenced_ = false;
        ++my.hand;
      } else {
        my.remove(entry);
      }
    }
    my.report_bytes();
  }
}

bool StateCache::wants_checkpoint() const {
  const Impl& my = *impl_;
  if (my.budget.bytes_used <= my.budget.bytes_max) return false;
  const std::size_t share = my.budget.bytes_max / std::max<std::size_t>(1, my.budget.caches);
  return my.dirty_bytes + my.committed_bytes > std::max(share / 2, kChangesBytesMin);
}

StateCache::Figures StateCache::figures() const {
  return {impl_->hits, impl_->misses, impl_->bytes + impl_->committed_bytes, impl_->dirty_bytes, impl_->ring.size()};
}

std::uint64_t StateCache::approximate_entries() const {
  const auto in_engine = static_cast<std::int64_t>(impl_->engine.statistics(impl_->store).entries_estimate);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, in_engine + impl_->extra_entries));
}

const ValueOps& StateCache::ops() const { return impl_->ops; }

namespace {

// Merges the entries that the engine lacks with a scan of the engine.
class MergedScan final : public StateScan {
 public:
  struct Item {
    std::string key;
    Timestamp timestamp;
    bool present;
    std::unique_ptr<char[]> value;
  };

  MergedScan(const ValueOps& ops, std::vector<Item> overlay, std::unique_ptr<EngineScan> engine)
      : ops_(ops),
        overlay_(std::move(overlay)),
        engine_(std::move(engine)),
        decoded_(std::make_unique_for_overwrite<char[]>(ops.size)) {
    settle();
  }
  ~MergedScan() override {
    drop_decoded();
    for (const Item& item : overlay_) {
      if (item.present) ops_.destroy(item.value.get());
    }
  }

  bool valid() const override { return place_ != Place::kEnd; }
  void next() override {
    if (place_ == Place::kOverlay) {
      ++at_;
    } else {
      engine_->next();
    }
    settle();
  }
  std::string_view key() const override {
    return place_ == Place::kOverlay ? std::string_view{overlay_[at_].key} : engine_->key();
  }
  const void* value() const override {
    return place_ == Place::kOverlay ? overlay_[at_].value.get() : decoded_.get();
  }
  Timestamp timestamp() const override {
    return place_ == Place::kOverlay ? overlay_[at_].timestamp : decoded_timestamp_;
  }

 private:
  enum class Place : std::uint8_t { kOverlay, kEngine, kEnd };

  // Moves on to the next entry that exists: the overlay wins over the engine, deleted ones are passed over.
  void settle() {
    drop_decoded();
    for (;;) {
      const bool engine_valid = engine_ && engine_->valid();
      if (engine_ && !engine_valid && !engine_->status().ok()) throw StoreFailure(engine_->status());
      if (at_ == overlay_.size() && !engine_valid) {
        place_ = Place::kEnd;
        return;
      }
      if (at_ < overlay_.size() && (!engine_valid || overlay_[at_].key <= engine_->key())) {
        if (engine_valid && overlay_[at_].key == engine_->key()) engine_->next();
        if (overlay_[at_].present) {
          place_ = Place::kOverlay;
          return;
        }
        ++at_;
        continue;
      }
      place_ = Place::kEngine;
      const std::string_view bytes = engine_->value();
      if (bytes.size() < kTimestampBytes) {
        throw StoreFailure(Status::internal("a stored value cannot be decoded: shorter than its timestamp"));
      }
      const auto status = ops_.decode(bytes.substr(kTimestampBytes), decoded_.get());
      if (!status.ok()) throw StoreFailure(Status::internal("a stored value cannot be decoded: " + status.message()));
      decoded_timestamp_ = read_timestamp(bytes);
      has_decoded_ = true;
      return;
    }
  }
  void drop_decoded() {
    if (has_decoded_) ops_.destroy(decoded_.get());
    has_decoded_ = false;
  }

  const ValueOps& ops_;
  std::vector<Item> overlay_;
  std::size_t at_ = 0;
  std::unique_ptr<EngineScan> engine_;
  std::unique_ptr<char[]> decoded_;
  Timestamp decoded_timestamp_{};
  bool has_decoded_ = false;
  Place place_ = Place::kEnd;
};

}  // namespace

std::unique_ptr<StateScan> StateCache::scan(std::optional<std::string_view> from, std::optional<std::string_view> to) {
  Impl& my = *impl_;
  std::vector<MergedScan::Item> overlay;
  for (const StateEntry* entry : my.ring) {
    if (my.evictable(*entry)) continue;
    if ((from && entry->key() < *from) || (to && entry->key() > *to)) continue;
    MergedScan::Item item{std::string{entry->key()}, entry->timestamp_, entry->present_, nullptr};
    if (entry->present_) {
      item.value = std::make_unique_for_overwrite<char[]>(my.ops.size);
      my.ops.copy(entry->storage_, item.value.get());
    }
    overlay.push_back(std::move(item));
  }
  std::sort(overlay.begin(), overlay.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  auto engine_scan = my.engine.scan(my.store, from, to);
  if (!engine_scan) throw StoreFailure(engine_scan.error());
  return std::make_unique<MergedScan>(my.ops, std::move(overlay), *std::move(engine_scan));
}

}  // namespace millrace
