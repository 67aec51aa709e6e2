// SPDX-License-Identifier: Apache-2.0
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstring>
#include <deque>
#include <map>
#include <new>

#include "millrace/state_cache.h"
#include "stores/change_set.h"
#include "stores/engine_value.h"
#include "stores/expiry_pass.h"
#include "stores/key_order.h"
#include "stores/merged_scan.h"
#include "stores/observed_time.h"

namespace millrace {

inline std::uint64_t hash_of(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

/// The entries of a cache, their levels and their budget: what its calls (state_cache.cc) and its
/// reads (state_cache_read.cc) work on.
struct StateCache::Impl {
  // Index slot, ring slot and allocator overhead of an entry, for the budget.
  static constexpr std::size_t kEntryOverheadBytes = 40;

  // A hash is spread already: the map needs no second one.
  struct SpreadHash {
    using is_avalanching = void;
    std::size_t operator()(std::uint64_t hash) const { return hash; }
  };

  // What an entry was before the current record touched it.
  struct Saved {
    StateEntry* entry;
    Timestamp timestamp;
    bool present;
    bool unlogged;
    bool expired;
    std::unique_ptr<char[]> value;
  };

  static std::size_t aligned(std::size_t bytes) {
    return (bytes + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) *
           alignof(std::max_align_t);
  }

  Impl(Engine& the_engine, StoreIndex the_store, const ValueOps& the_ops, CacheBudget& the_budget,
       const KeyLayout& the_layout)
      : engine(the_engine), store(the_store), ops(the_ops), budget(the_budget), layout(the_layout) {
    ++budget.caches;
    auto position = engine.position(store);
    engine_empty = position.has_value() && !position->has_value() &&
                   engine.statistics(store).entries_estimate == 0;
  }

  Engine& engine;
  const StoreIndex store;
  const ValueOps& ops;
  CacheBudget& budget;
  const KeyLayout layout;

  boost::unordered_flat_map<std::uint64_t, StateEntry*, SpreadHash> index;
  std::vector<StateEntry*> ring;
  std::size_t hand = 0;
  // The entries in key order, from the first scan of a store with times on: such stores are scanned
  // for single records.
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

  // By engine key, until they are prepared: versions to be withdrawn, with the engine value that
  // was in effect before each.
  std::map<std::string, std::string, std::less<>> withdrawn;
  bool versions_again = false;  // Some of the dirty entries are logged again.

  bool recording = false;
  std::vector<Saved> saved;
  std::size_t dirty_before_record = 0;

  std::int64_t extra_entries = 0;  // Entries that exist minus those of them in the engine.
  bool engine_empty = false;       // Nothing was ever checkpointed: lookups need not ask.
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
    return aligned(sizeof(StateEntry)) + aligned(ops.size) + entry.key_size_ + entry.heap_bytes_ +
           kEntryOverheadBytes;
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
    extra_entries -=
        static_cast<std::int64_t>(entry->present_) - static_cast<std::int64_t>(entry->in_engine_);
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
    extra_entries -=
        static_cast<std::int64_t>(in_engine) - static_cast<std::int64_t>(entry.in_engine_);
    entry.in_engine_ = in_engine;
  }

  // Gives `entry` the value that an engine or a change set holds for it.
  void assign(StateEntry& entry, std::optional<std::string_view> engine_value) {
    if (entry.present_ && !ops.trivially_copyable) ops.destroy(entry.storage_);
    set_present(entry, false);
    if (!engine_value) return;
    entry.timestamp_ = timestamp_of(*engine_value);
    const auto status = decode_value(ops, *engine_value, entry.storage_);
    if (!status.ok()) throw StoreFailure(undecodable(entry, status.message()));
    set_present(entry, true);
    set_heap_bytes(entry, engine_value->size());
  }

  static Status undecodable(const StateEntry& entry, const std::string& why) {
    return Status::internal("a stored value cannot be decoded (key of " +
                            std::to_string(entry.key_size_) + " bytes): " + why +
                            "; the value's type has changed since it was written: keep its "
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

  // As it was left: its time may be over.
  StateEntry& entry_of(std::string_view key) {
    const std::uint64_t hash = hash_of(key);
    StateEntry* const entry = find(key, hash);
    if (entry == nullptr) return load_from_engine(key, hash);
    ++hits;
    entry->referenced_ = true;
    return *entry;
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
      if (!observed)
        throw StoreFailure(Status::corruption("a store's observed time cannot be read"));
      time = {*observed, *observed, *observed, *observed, *observed, *observed};
    }
    time_loaded = true;
    return time;
  }

  bool expired_key(std::string_view key, std::int64_t observed) const {
    return layout.expires() && observed != KeyLayout::kNoTime &&
           !layout.is_live(layout.time_of(key), observed);
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
    if (change.deleted || over(change.timestamp)) return item;
    item.value = std::make_unique_for_overwrite<char[]>(ops.size);
    const auto status = decode_value(ops, change.engine_value, item.value.get());
    if (!status.ok()) throw StoreFailure(undecodable(entry, status.message()));
    item.present = true;
    return item;
  }

  // What the engine has within [from, to], under `overlay`.
  std::unique_ptr<StateScan> merged(std::vector<MergedScan::Item> overlay,
                                    std::optional<std::string_view> from,
                                    std::optional<std::string_view> to) const {
    auto scan = engine.scan(store, from, to);
    if (!scan) throw StoreFailure(scan.error());
    return std::make_unique<MergedScan>(ops, std::move(overlay), *std::move(scan), live_from);
  }

  // Entries within [from, to] of which the engine lacks what a reader of `level` sees, each once.
  std::vector<const StateEntry*> lacking(std::optional<std::string_view> from,
                                         std::optional<std::string_view> to,
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

}  // namespace millrace
