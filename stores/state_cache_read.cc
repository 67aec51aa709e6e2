// SPDX-License-Identifier: Apache-2.0
//
// Reads that leave the cache as it is: scans, and queries of what is live or committed.
#include "millrace/state_cache.h"
#include "stores/state_cache_impl.h"

namespace millrace {

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
    for (auto at = empty  ? end
                   : from ? my.order->lower_bound(*from)
                          : my.order->begin();
         at != end; ++at) {
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
    std::sort(overlay.begin(), overlay.end(),
              [](const auto& a, const auto& b) { return a.key < b.key; });
  }
  return my.merged(std::move(overlay), from, to);
}

std::optional<EncodedEntry> StateCache::read(std::string_view key, ReadLevel level) {
  Impl& my = *impl_;
  const StateEntry* entry = my.find(key, hash_of(key));
  const bool uncommitted = entry != nullptr && (entry->dirty_ || entry->in_flight_ != nullptr);
  if (entry != nullptr && (level == ReadLevel::kLatest || !uncommitted)) {
    if (!entry->present_ || my.over(entry->timestamp_)) return std::nullopt;
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
  const Timestamp timestamp = timestamp_of(*bytes);
  if (my.over(timestamp)) return std::nullopt;
  return EncodedEntry{std::string{key}, bytes->substr(KeyLayout::kTimestampBytes), timestamp};
}

std::unique_ptr<StateScan> StateCache::scan_part(std::optional<std::string_view> from,
                                                 std::optional<std::string_view> to,
                                                 ReadLevel level, std::size_t overlay_max,
                                                 std::optional<std::string>* end) {
  Impl& my = *impl_;
  const auto by_key = [](const StateEntry* a, const StateEntry* b) { return a->key() < b->key(); };
  auto entries = my.lacking(from, to, level);
  if (entries.size() > overlay_max) {
    std::nth_element(entries.begin(),
                     entries.begin() + static_cast<std::ptrdiff_t>(overlay_max) - 1, entries.end(),
                     by_key);
    entries.resize(overlay_max);
    *end = entries.back()->key();
    to = **end;
  }
  std::sort(entries.begin(), entries.end(), by_key);
  std::vector<MergedScan::Item> overlay;
  overlay.reserve(entries.size());
  for (const StateEntry* entry : entries) {
    overlay.push_back(level == ReadLevel::kLatest ? my.overlay_item(*entry)
                                                  : my.committed_item(*entry));
  }
  return my.merged(std::move(overlay), from, to);
}

}  // namespace millrace
