// SPDX-License-Identifier: Apache-2.0
#include "millrace/state_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstring>
#include <deque>
#include <map>
#include <new>

#include "stores/change_set.h"
#include "stores/engine_value.h"
#include "stores/expiry_pass.h"
#include "stores/key_order.h"
#include "stores/merged_scan.h"
#include "stores/observed_time.h"

namespace millrace {
namespace {

// Index slot, ring slot and allocator overhead of an entry, for the budget.
constexpr std::size_t kEntryOverheadBytes = 40;

// However small the budget: changes are collected up to this before they ask for a commit.
constexpr std::size_t kChangesBytesMin = std::size_t{1} << 20;
// ... and all caches of the process together up to this.
constexpr std::size_t kAllChangesBytesMin = std::size_t{16} << 20;

// A hash is spread already: the map needs no second one.
struct SpreadHash {
  using is_avalanching = void;
  std::size_t operator()(std::uint64_t hash) const { return hash; }
};

std::uint64_t hash_of(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

// Engine values: 8 bytes timestamp in milliseconds, big endian, then the value as its serde encodes it.
constexpr std::size_t kTimestampBytes = KeyLayout::kTimestampBytes;

std::size_t aligned(std::size_t bytes) {
  return (bytes + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) * alignof(std::max_align_t);
}

// What an entry was before the current record touched it.
struct Saved {
  StateEntry* entry;
  Timestamp timestamp;
  bool present;
  bool unlogged;
  bool expired;
  std::unique_ptr<char[]> value;
};

}  // namespace

struct StateCache::Impl {
  Impl(Engine& the_engine, StoreIndex the_store, const ValueOps& the_ops, CacheBudget& the_budget,
       const KeyLayout& the_layout)
      : engine(the_engine), store(the_store), ops(the_ops), budget(the_budget), layout(the_layout) {
    ++budget.caches;
    auto position = engine.position(store);
    engine_empty = position.has_value() && !position->has_value() && engine.statistics(store).entries_estimate == 0;
  }

  Engine& engine;
  const StoreIndex store;
  const ValueOps& ops;
  CacheBudget& budget;
  const KeyLayout layout;

  boost::unordered_flat_map<std::uint64_t, StateEntry*, SpreadHash> index;
  std::vector<StateEntry*> ring;
  std::size_t hand = 0;
  // The entries in key order, from the first scan of a store with times on: such stores are scanned for single records.
  std::optional<std::map<std::string_view, StateEntry*>> order;

  ObservedTime time;
  bool time_loaded = false;
  std::string time_bytes;      // What `uncheckpointed` lends out.
  std::string expired_below;   // Likewise; empty: nothing is erased.
  bool evict_expired = false;  // At the next trim.
  std::uint64_t expired = 0;

  // Of a store whose entries go one by one.
  const bool has_ttl = layout.has_ttl();
  const bool needs_passes = layout.needs_passes();
  Timestamp now{};
  std::int64_t live_from = KeyLayout::kNoTime;  // Entries with an earlier timestamp are gone.
  ExpiryPass pass;
  std::uint64_t expired_keys = 0;
  std::uint64_t expired_keys_before_record = 0;

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
    if (order) order->emplace(entry->key(), entry);
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
    if (order) order->erase(entry->key());
    const auto it = index.find(entry->hash_);
    if (it->second == entry && entry->same_hash_ == nullptr) {
      index.erase(it);
    } else {
      StateEntry** link = &it->second;
      while (*link != entry) link = &(*link)->same_hash_;
      *link = entry->same_hash_;
    }
    StateEntry* last = ring.back();
    see_unless_in_engine(*last);  // It may go where the pass has been.
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
    entry.timestamp_ = timestamp_of(*engine_value);
    const auto status = ops.decode(engine_value->substr(kTimestampBytes), entry.storage_);
    if (!status.ok()) throw StoreFailure(undecodable(entry, status.message()));
    set_present(entry, true);
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
    Saved old{&entry, entry.timestamp_, entry.present_, entry.unlogged_, entry.expired_, nullptr};
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

  // Read when it is first asked for: a store is opened before its engine can be known to answer.
  ObservedTime& times() {
    if (time_loaded || !layout.observes_time()) return time;
    auto record = engine.get(store, KeyLayout::kTimeKey);
    if (!record) throw StoreFailure(record.error());
    if (const auto& bytes_found = *record) {
      const auto observed = layout.observed_time(*bytes_found);
      if (!observed) throw StoreFailure(Status::corruption("a store's observed time cannot be read"));
      time = {*observed, *observed, *observed, *observed, *observed, *observed};
    }
    time_loaded = true;
    return time;
  }

  bool expired_key(std::string_view key, std::int64_t observed) const {
    return layout.expires() && observed != KeyLayout::kNoTime && !layout.is_live(layout.time_of(key), observed);
  }

  // The timestamp that a write has in the store, when the operator says `timestamp`.
  [[nodiscard]] Timestamp write_time(Timestamp timestamp) const {
    return has_ttl && layout.ttl_clock() == TtlClock::kWallClock ? now : timestamp;
  }
  void written(StateEntry& entry, Timestamp timestamp) {
    entry.timestamp_ = write_time(timestamp);
    if (needs_passes) pass.note(pass_time(entry.key(), entry.timestamp_));
  }

  bool over(Timestamp timestamp) const { return to_millis(timestamp) < live_from; }

  // Deletes the value, if there is one.
  void clear(StateEntry& entry, Timestamp timestamp) {
    mark(entry);
    if (entry.present_ && !ops.trivially_copyable) ops.destroy(entry.storage_);
    set_present(entry, false);
    entry.timestamp_ = timestamp;
    entry.unlogged_ = entry.expired_ = false;
    set_heap_bytes(entry, 0);
  }

  // The key's time to live is over: it is deleted as of that time, which is not after `now`.
  void expire(StateEntry& entry, Timestamp written) {
    clear(entry, written + layout.retention());
    entry.expired_ = true;
    ++expired_keys;
  }

  void expire_if_over(StateEntry& entry) {
    if (!entry.present_) return;
    if (over(entry.timestamp_)) {
      expire(entry, entry.timestamp_);
    } else {
      pass.seen(to_millis(entry.timestamp_));
    }
  }

  // By what time a pass looks at an entry: see ExpiryPass.
  [[nodiscard]] std::int64_t pass_time(std::string_view key, Timestamp timestamp) const {
    return has_ttl ? to_millis(timestamp) : layout.time_of(key);
  }
  // What the engine has too, the pass sees there.
  void see_unless_in_engine(const StateEntry& entry) {
    if (!needs_passes || !entry.present_ || evictable(entry)) return;
    pass.seen(pass_time(entry.key(), entry.timestamp_));
  }

  // The earliest time that keeps what stands at it.
  [[nodiscard]] std::int64_t pass_from() {
    if (has_ttl) return live_from;
    const std::int64_t observed = times().live;
    // The version in effect there is kept, and with it goes what stands before.
    return observed == KeyLayout::kNoTime ? KeyLayout::kNoTime : layout.live_from(observed) + 1;
  }

  // A step of the pass through the engine, of which only keys and timestamps are read. How many
  // entries it has looked at.
  std::size_t sweep_engine(std::size_t entries_max) {
    std::vector<std::pair<std::string, Timestamp>> old;
    std::size_t looked_at = 0;
    {
      // The observed time stands first, under the empty key, and is no entry.
      static constexpr std::string_view kFirstKey{"", 1};
      const auto from = pass.cursor.empty() ? kFirstKey : std::string_view{pass.cursor};
      auto scan = engine.scan(
          store, has_ttl && pass.cursor.empty() ? std::nullopt : std::optional{from}, std::nullopt);
      if (!scan) throw StoreFailure(scan.error());
      for (; (*scan)->valid() && looked_at < entries_max; (*scan)->next(), ++looked_at) {
        const std::string_view key = (*scan)->key();
        const Timestamp written = timestamp_of((*scan)->value());
        if (has_ttl ? goes(written) : goes_as_version(key)) old.emplace_back(key, written);
      }
      if (!(*scan)->status().ok()) throw StoreFailure((*scan)->status());
      if ((*scan)->valid()) {
        pass.cursor = (*scan)->key();
      } else {
        pass.place = ExpiryPass::Place::kCache;
      }
    }
    for (const auto& [key, written] : old) remove_old(key, written);
    return looked_at;
  }

  bool goes(Timestamp written) {
    if (over(written)) return true;
    pass.seen(to_millis(written));
    return false;
  }

  // Versions of a key come later ones first. One in effect where the history begins is kept, those
  // behind it are not: it is committed, so they are not needed, whatever newer versions the cache
  // has.
  bool goes_as_version(std::string_view engine_key) {
    const std::string_view key = layout.key_of(engine_key);
    const bool has_later = pass.version && pass.version->key == key;
    const std::int64_t later = has_later ? pass.version->time : 0;
    pass.version = {std::string{key}, layout.time_of(engine_key)};
    if (!has_later) return false;
    if (later < pass_from()) return true;
    pass.seen(later);
    return false;
  }

  void remove_old(const std::string& key, Timestamp written) {
    const std::uint64_t hash = hash_of(key);
    StateEntry* entry = find(key, hash);
    if (entry != nullptr && has_ttl) return expire_if_over(*entry);  // What the cache has is newer.
    if (entry == nullptr) {
      entry = &insert(key, hash);
      set_in_engine(*entry, true);
      if (has_ttl) return expire(*entry, written);
    } else if (!entry->present_) {
      return;
    }
    clear(*entry, written);
    entry->unlogged_ = true;
  }

  void sweep_cache(std::size_t entries_max) {
    for (; entries_max > 0 && pass.ring_at < ring.size(); --entries_max) {
      StateEntry& entry = *ring[pass.ring_at++];
      if (has_ttl && entry.present_ && over(entry.timestamp_)) {
        expire(entry, entry.timestamp_);
      } else {
        see_unless_in_engine(entry);
      }
    }
    if (pass.ring_at >= ring.size()) pass.end();
  }

  MergedScan::Item overlay_item(const StateEntry& entry) const {
    const bool present = entry.present_ && !(has_ttl && over(entry.timestamp_));
    MergedScan::Item item{std::string{entry.key()}, entry.timestamp_, present, nullptr};
    if (present) {
      item.value = std::make_unique_for_overwrite<char[]>(ops.size);
      ops.copy(entry.storage_, item.value.get());
    }
    return item;
  }

  // The entry as its last commit has it. Precondition: the engine lacks that commit.
  MergedScan::Item committed_item(const StateEntry& entry) const {
    const Change& change = *entry.committed_;
    MergedScan::Item item{std::string{entry.key()}, change.timestamp, false, nullptr};
    if (change.deleted) return item;
    item.value = std::make_unique_for_overwrite<char[]>(ops.size);
    const auto status = ops.decode(change.engine_value.substr(kTimestampBytes), item.value.get());
    if (!status.ok()) throw StoreFailure(undecodable(entry, status.message()));
    item.present = true;
    return item;
  }

  // Entries within [from, to] of which the engine lacks what a reader of `level` sees, each once.
  std::vector<const StateEntry*> lacking(std::optional<std::string_view> from, std::optional<std::string_view> to,
                                         ReadLevel level) const {
    std::vector<const StateEntry*> found;
    const auto add = [&](const StateEntry* entry) {
      if ((!from || entry->key() >= *from) && (!to || entry->key() <= *to)) found.push_back(entry);
    };
    if (level == ReadLevel::kCommitted) {
      for (const StateEntry* entry : pinned) add(entry);
      return found;
    }
    for (const StateEntry* entry : dirty) add(entry);
    if (in_flight) {
      for (const StateEntry* entry : in_flight_entries) {
        if (!entry->dirty_) add(entry);
      }
    }
    for (const StateEntry* entry : pinned) {
      if (!entry->dirty_ && entry->in_flight_ == nullptr) add(entry);
    }
    return found;
  }

  void remove_expired() {
    evict_expired = false;
    for (std::size_t i = 0; i < ring.size();) {
      StateEntry* entry = ring[i];
      if (evictable(*entry) && expired_key(entry->key(), time.committed)) {
        remove(entry);  // The last of the ring takes its place.
      } else {
        ++i;
      }
    }
  }

  void report_bytes() {
    budget.bytes_used += bytes - bytes_reported;  // Unsigned wrap-around makes a decrease of it.
    bytes_reported = bytes;
  }
};

StateCache::StateCache(Engine& engine, StoreIndex store, const ValueOps& ops, CacheBudget& budget,
                       const KeyLayout& layout)
    : impl_(std::make_unique<Impl>(engine, store, ops, budget, layout)) {}

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
    if (impl_->has_ttl) impl_->expire_if_over(*entry);
    return *entry;
  }
  StateEntry& entry = impl_->load_from_engine(key, hash);
  if (impl_->has_ttl) impl_->expire_if_over(entry);
  return entry;
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
  impl_->written(entry, timestamp);
  return entry.storage_;
}

void* StateCache::replace(StateEntry& entry, Timestamp timestamp) {
  impl_->mark(entry);
  if (entry.present_ && !impl_->ops.trivially_copyable) impl_->ops.destroy(entry.storage_);
  impl_->set_present(entry, true);
  impl_->written(entry, timestamp);
  entry.unlogged_ = false;
  entry.expired_ = false;
  return entry.storage_;
}

void StateCache::erase(StateEntry& entry, Timestamp timestamp) {
  impl_->clear(entry, impl_->write_time(timestamp));
}

void StateCache::drop_unlogged(StateEntry& entry) {
  erase(entry, entry.timestamp_);
  entry.unlogged_ = true;
}

const KeyLayout& StateCache::layout() const { return impl_->layout; }

std::int64_t StateCache::observed_time(ReadLevel level) const {
  const ObservedTime& times = impl_->times();
  return level == ReadLevel::kLatest ? times.live : times.committed;
}

bool StateCache::observe(std::int64_t time) {
  ObservedTime& times = impl_->times();
  times.live = std::max(times.live, time);
  if (time != KeyLayout::kNoTime && impl_->layout.is_live(time, times.live)) return true;
  ++impl_->expired;
  return false;
}

void StateCache::expire_changed() {
  if (!impl_->has_ttl) return;
  for (StateEntry* entry : impl_->dirty)
    impl_->expire_if_over(*entry);  // Dirty already: none is added.
}

std::span<StateEntry* const> StateCache::dirty() const { return impl_->dirty; }

void StateCache::set_time(Timestamp now) {
  impl_->now = now;
  if (impl_->has_ttl) impl_->live_from = impl_->layout.live_from(to_millis(now));
}

void StateCache::sweep(std::size_t entries_max) {
  Impl& my = *impl_;
  if (!my.needs_passes || !my.pass.due(my.pass_from())) return;
  if (my.pass.place == ExpiryPass::Place::kNone) my.pass.begin();
  std::size_t looked_at = 0;
  if (my.pass.place == ExpiryPass::Place::kEngine) looked_at = my.sweep_engine(entries_max);
  if (my.pass.place == ExpiryPass::Place::kCache) my.sweep_cache(entries_max - looked_at);
}

void StateCache::begin_record() {
  impl_->recording = true;
  impl_->time.before_record = impl_->time.live;
  impl_->expired_keys_before_record = impl_->expired_keys;
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
    entry.unlogged_ = old.unlogged;
    entry.expired_ = old.expired;
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
  impl_->time.live = impl_->time.before_record;
  impl_->expired_keys = impl_->expired_keys_before_record;
  impl_->recording = false;
}

void StateCache::log_again(std::string_view key, Timestamp timestamp_if_absent) {
  StateEntry& entry = load(key);
  if (impl_->layout.kind() == StoreKind::kVersioned && !entry.present_) return log_version_in_effect(entry);
  impl_->mark(entry);
  entry.unlogged_ = false;
  if (entry.present_) return;
  // The broker deletes by record time: what it is told of a window is as old as the window.
  const auto time = impl_->layout.expires() ? from_millis(impl_->layout.time_of(key)) : timestamp_if_absent;
  entry.timestamp_ = std::max(time, from_millis(0));
}

// A foreign version cannot be taken out of the log, but a version with the value that was in effect before it says the
// same as no version. Afterwards the value is valid from the later time: that is all that can be told.
void StateCache::log_version_in_effect(StateEntry& entry) {
  const KeyLayout& layout = impl_->layout;
  std::string last;
  const std::string_view key = layout.key_of(entry.key());
  layout.compose(key, KeyLayout::kNoTime, 0, last);
  const auto earlier = scan(entry.key(), last, Extent::kFirst);
  void* room = replace(entry, from_millis(layout.time_of(entry.key())));
  if (earlier->valid()) {
    impl_->ops.copy(earlier->value(), room);
    return;
  }
  constexpr char kNothing[] = {KeyLayout::kDeletedVersion};
  if (const auto status = impl_->ops.decode({kNothing, 1}, room); !status.ok()) throw StoreFailure(status);
}

std::span<const Change> StateCache::prepare() {
  Impl& my = *impl_;
  my.in_flight = std::make_unique<ChangeSet>(my.dirty.size());
  for (StateEntry* entry : my.dirty) {
    entry->dirty_ = false;
    entry->expired_ = false;
    if (entry->present_) {
      my.scratch.clear();
      Serde<std::int64_t>::encode(to_millis(entry->timestamp_), my.scratch);
      my.ops.encode(entry->storage_, my.scratch);
      my.set_heap_bytes(*entry, my.scratch.size());
      entry->in_flight_ = &my.in_flight->add(entry->key(), my.scratch, entry->timestamp_);
    } else {
      entry->in_flight_ = &my.in_flight->add_deletion(entry->key(), entry->timestamp_, !entry->unlogged_);
      entry->unlogged_ = false;
    }
  }
  my.time.in_flight = my.time.live;
  my.in_flight_entries.clear();
  my.in_flight_entries.swap(my.dirty);
  my.dirty_bytes = 0;
  return my.in_flight->changes();
}

void StateCache::committed() {
  Impl& my = *impl_;
  if (!my.in_flight) return;
  my.time.committed = my.time.in_flight;
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
    entry->unlogged_ = false;
    entry->expired_ = false;
    if (const Change* change = entry->committed_) {
      my.assign(*entry, change->deleted ? std::nullopt : std::optional{change->engine_value});
      entry->timestamp_ = change->timestamp;
    } else {
      my.remove(entry);  // The engine holds its committed value.
    }
  }
  my.in_flight.reset();
  my.time.live = my.time.in_flight = my.time.committed;
  my.pass.forget();
}

std::vector<EngineChange> StateCache::uncheckpointed() {
  Impl& my = *impl_;
  std::vector<EngineChange> changes;
  changes.reserve(my.pinned.size() + 1);
  my.expired_below.clear();
  ObservedTime& time = my.times();
  time.leaving = time.committed;
  if (time.leaving > time.in_engine) {
    my.time_bytes = my.layout.time_record(time.leaving);
    changes.push_back({KeyLayout::kTimeKey, my.time_bytes});
    // The engine has all there is from the time it knows on: nothing to erase twice.
    if (my.layout.expires() && time.in_engine != KeyLayout::kNoTime) {
      my.expired_below = my.layout.expired_below(time.leaving);
      if (my.expired_below == my.layout.expired_below(time.in_engine)) my.expired_below.clear();
    }
  }
  for (const StateEntry* entry : my.pinned) {
    const Change& change = *entry->committed_;
    if (my.expired_key(change.key, time.leaving)) continue;
    // It may go where the pass has been.
    if (my.needs_passes && !change.deleted)
      my.pass.seen(my.pass_time(change.key, change.timestamp));
    changes.push_back({change.key, change.deleted ? std::nullopt : std::optional{change.engine_value}});
  }
  sort_by_key(changes, [](const EngineChange& change) { return change.key; });
  return changes;
}

std::optional<std::string_view> StateCache::erase_below() const {
  if (impl_->expired_below.empty()) return std::nullopt;
  return impl_->expired_below;
}

void StateCache::checkpointed() {
  for (StateEntry* entry : impl_->pinned) {
    const bool written = !entry->committed_->deleted && !impl_->expired_key(entry->key(), impl_->time.leaving);
    impl_->set_in_engine(*entry, written);
    entry->committed_ = nullptr;
  }
  impl_->time.in_engine = impl_->time.leaving;
  impl_->evict_expired = impl_->evict_expired || !impl_->expired_below.empty();
  impl_->engine_empty = impl_->engine_empty && impl_->pinned.empty();
  impl_->pinned.clear();
  impl_->committed.clear();
  impl_->committed_bytes = 0;
}

std::size_t StateCache::uncheckpointed_bytes() const { return impl_->committed_bytes; }

void StateCache::trim() {
  Impl& my = *impl_;
  if (my.evict_expired) my.remove_expired();
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
  const std::size_t caches = std::max<std::size_t>(1, my.budget.caches);
  const std::size_t share = my.budget.bytes_max / caches;
  const std::size_t floor = std::min(kChangesBytesMin, kAllChangesBytesMin / caches);
  return my.dirty_bytes + my.committed_bytes > std::max(share / 2, floor);
}

StateCache::Figures StateCache::figures() const {
  return {impl_->hits,        impl_->misses,      impl_->bytes + impl_->committed_bytes,
          impl_->dirty_bytes, impl_->ring.size(), impl_->expired,
          impl_->expired_keys};
}

std::uint64_t StateCache::approximate_entries() const {
  const auto in_engine = static_cast<std::int64_t>(impl_->engine.statistics(impl_->store).entries_estimate);
  const std::int64_t time_records = impl_->time.in_engine == KeyLayout::kNoTime ? 0 : 1;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, in_engine + impl_->extra_entries - time_records));
}

const ValueOps& StateCache::ops() const { return impl_->ops; }

std::unique_ptr<StateScan> StateCache::scan(std::optional<std::string_view> from,
                                            std::optional<std::string_view> to, Extent extent) {
  Impl& my = *impl_;
  std::vector<MergedScan::Item> overlay;
  if (my.layout.observes_time()) {
    if (!my.order) {
      my.order.emplace();
      for (StateEntry* entry : my.ring) my.order->emplace(entry->key(), entry);
    }
    const auto end = to ? my.order->upper_bound(*to) : my.order->end();
    const bool empty = from && to && *from > *to;
    for (auto at = empty ? end : from ? my.order->lower_bound(*from) : my.order->begin(); at != end; ++at) {
      if (my.evictable(*at->second)) continue;
      overlay.push_back(my.overlay_item(*at->second));
      if (extent == Extent::kAll || !overlay.back().present) continue;
      to = at->first;  // The first entry is this one, or one of the engine before it.
      break;
    }
  } else {
    for (const StateEntry* entry : my.ring) {
      if (my.evictable(*entry)) continue;
      if ((from && entry->key() < *from) || (to && entry->key() > *to)) continue;
      overlay.push_back(my.overlay_item(*entry));
    }
    std::sort(overlay.begin(), overlay.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  }
  auto engine_scan = my.engine.scan(my.store, from, to);
  if (!engine_scan) throw StoreFailure(engine_scan.error());
  return std::make_unique<MergedScan>(my.ops, std::move(overlay), *std::move(engine_scan),
                                      my.live_from);
}

std::optional<EncodedEntry> StateCache::read(std::string_view key, ReadLevel level) {
  Impl& my = *impl_;
  const StateEntry* entry = my.find(key, hash_of(key));
  const bool uncommitted = entry != nullptr && (entry->dirty_ || entry->in_flight_ != nullptr);
  if (entry != nullptr && (level == ReadLevel::kLatest || !uncommitted)) {
    if (!entry->present_) return std::nullopt;
    EncodedEntry result{std::string{key}, {}, entry->timestamp_};
    my.ops.encode(entry->storage_, result.value);
    return result;
  }
  std::optional<std::string> bytes;
  if (entry != nullptr && entry->committed_ != nullptr) {
    if (entry->committed_->deleted) return std::nullopt;
    bytes = entry->committed_->engine_value;
  } else if (!my.engine_empty) {
    auto found = my.engine.get(my.store, key);
    if (!found) throw StoreFailure(found.error());
    bytes = *std::move(found);
  }
  if (!bytes) return std::nullopt;
  if (bytes->size() < kTimestampBytes) {
    throw StoreFailure(Status::internal("a stored value is shorter than its timestamp"));
  }
  return EncodedEntry{std::string{key}, bytes->substr(kTimestampBytes), read_timestamp(*bytes)};
}

std::unique_ptr<StateScan> StateCache::scan_part(std::optional<std::string_view> from,
                                                 std::optional<std::string_view> to, ReadLevel level,
                                                 std::size_t overlay_max, std::optional<std::string>* end) {
  Impl& my = *impl_;
  const auto by_key = [](const StateEntry* a, const StateEntry* b) { return a->key() < b->key(); };
  auto entries = my.lacking(from, to, level);
  if (entries.size() > overlay_max) {
    std::nth_element(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(overlay_max) - 1, entries.end(),
                     by_key);
    entries.resize(overlay_max);
    *end = entries.back()->key();
    to = **end;
  }
  std::sort(entries.begin(), entries.end(), by_key);
  std::vector<MergedScan::Item> overlay;
  overlay.reserve(entries.size());
  for (const StateEntry* entry : entries) {
    overlay.push_back(level == ReadLevel::kLatest ? my.overlay_item(*entry) : my.committed_item(*entry));
  }
  auto engine_scan = my.engine.scan(my.store, from, to);
  if (!engine_scan) throw StoreFailure(engine_scan.error());
  return std::make_unique<MergedScan>(my.ops, std::move(overlay), *std::move(engine_scan));
}

}  // namespace millrace
