// SPDX-License-Identifier: Apache-2.0
#include "millrace/state_cache.h"

#include <limits>
#include <utility>

#include "stores/state_cache_impl.h"

namespace millrace {
namespace {

// However small the budget: changes are collected up to this before they ask for a commit.
constexpr std::size_t kChangesBytesMin = std::size_t{1} << 20;
// ... and all caches of the process together up to this.
constexpr std::size_t kAllChangesBytesMin = std::size_t{16} << 20;

}  // namespace

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
  StateEntry& entry = impl_->entry_of(key);
  if (impl_->has_ttl) impl_->expire_if_over(entry);
  return entry;
}

void StateCache::prefetch(std::span<const std::string_view> keys) {
  // Independent lookups in a row let the processor overlap their cache misses, which a loop over
  // records cannot.
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
  // Not expired by the way: nobody hands on what a start finds to be over; the next pass does.
  StateEntry& entry = impl_->entry_of(key);
  if (impl_->layout.kind() == StoreKind::kVersioned) return log_version_again(entry);
  impl_->mark(entry);
  entry.unlogged_ = false;
  if (entry.present_) return;
  // The broker deletes by record time: what it is told of a window is as old as the window.
  const auto time =
      impl_->layout.expires() ? from_millis(impl_->layout.time_of(key)) : timestamp_if_absent;
  entry.timestamp_ = std::max(time, from_millis(0));
}

void StateCache::log_version_again(StateEntry& entry) {
  Impl& my = *impl_;
  const std::string_view key = my.layout.key_of(entry.key());
  std::string first;
  std::string last;
  my.layout.compose(key, std::numeric_limits<std::int64_t>::max(), 0, first);
  my.layout.compose(key, KeyLayout::kNoTime, 0, last);
  if (!entry.present_) {
    entry.timestamp_ = from_millis(my.layout.time_of(entry.key()));
    std::string in_effect;
    Serde<std::int64_t>::encode(to_millis(entry.timestamp_), in_effect);
    const auto earlier = scan(entry.key(), last, Extent::kFirst);
    if (earlier->valid()) {
      my.ops.encode(earlier->value(), in_effect);
    } else {
      in_effect += KeyLayout::kDeletedVersion;
    }
    my.withdrawn.emplace(entry.key(), std::move(in_effect));
  }
  my.mark(entry);
  if (const auto newest = scan(first, last, Extent::kFirst); newest->valid()) {
    my.mark(load(newest->key()));
  }
  my.versions_again = true;
}

std::span<const Change> StateCache::prepare() {
  Impl& my = *impl_;
  // What the log has last of a key outlives compaction: the newest version, which stands first in
  // the order of engine keys.
  if (std::exchange(my.versions_again, false)) {
    std::ranges::sort(my.dirty, [](const StateEntry* a, const StateEntry* b) {
      return std::pair{a->present_, b->key()} < std::pair{b->present_, a->key()};
    });
  }
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
    } else if (const auto version = my.withdrawn.find(entry->key());
               version != my.withdrawn.end()) {
      entry->in_flight_ =
          &my.in_flight->add_withdrawal(entry->key(), version->second, entry->timestamp_);
    } else {
      entry->in_flight_ =
          &my.in_flight->add_deletion(entry->key(), entry->timestamp_, !entry->unlogged_);
      entry->unlogged_ = false;
    }
  }
  my.withdrawn.clear();
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
  my.withdrawn.clear();
  my.versions_again = false;
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
    changes.push_back(
        {change.key, change.deleted ? std::nullopt : std::optional{change.engine_value}});
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
    const bool written =
        !entry->committed_->deleted && !impl_->expired_key(entry->key(), impl_->time.leaving);
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
  const auto in_engine =
      static_cast<std::int64_t>(impl_->engine.statistics(impl_->store).entries_estimate);
  const std::int64_t time_records = impl_->time.in_engine == KeyLayout::kNoTime ? 0 : 1;
  return static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, in_engine + impl_->extra_entries - time_records));
}

const ValueOps& StateCache::ops() const { return impl_->ops; }

}  // namespace millrace
