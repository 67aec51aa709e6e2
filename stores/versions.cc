// SPDX-License-Identifier: Apache-2.0
#include "millrace/versions.h"

#include <limits>
#include <vector>

namespace millrace::detail {

// Versions stand in the order of their times, later ones first, and no others between.
std::unique_ptr<StateScan> Versions::down_from(std::string_view key, std::int64_t time,
                                               StateCache::Extent extent) const {
  cache_->layout().compose(key, time, 0, first_);
  cache_->layout().compose(key, KeyLayout::kNoTime, 0, last_);
  return cache_->scan(first_, last_, extent);
}

std::unique_ptr<StateScan> Versions::as_of(std::string_view key, std::int64_t time) const {
  const KeyLayout& layout = cache_->layout();
  constexpr auto kFirst = StateCache::Extent::kFirst;
  if (layout.is_live(time, cache_->observed_time())) return down_from(key, time, kFirst);
  auto latest = down_from(key, std::numeric_limits<std::int64_t>::max(), kFirst);
  if (latest->valid() && layout.time_of(latest->key()) > time)
    return cache_->scan(last_, first_);  // Nothing.
  return latest;
}

StateEntry* Versions::prepare_put(std::string_view key, std::int64_t time) {
  if (time < 0) {
    throw StatusError(Status::invalid_argument(
        "a version cannot have the time " + std::to_string(time) +
        ": it becomes the timestamp of a record, and Kafka has no negative ones"));
  }
  if (!cache_->observe(time)) return nullptr;
  drop_unreachable(key);
  cache_->layout().compose(key, time, 0, first_);
  return &cache_->load(first_);
}

// The version in effect where the history begins is the oldest that can be asked for. The changelog
// keeps the others for as long as it likes: a restore brings them back, and they are dropped again.
// Here, so that a key that is written often does not wait for the pass over the store.
void Versions::drop_unreachable(std::string_view key) {
  std::vector<std::string> dropped;
  {
    auto scan = down_from(key, cache_->layout().live_from(cache_->observed_time()),
                          StateCache::Extent::kAll);
    if (!scan->valid()) return;
    for (scan->next(); scan->valid(); scan->next()) dropped.emplace_back(scan->key());
  }
  for (const auto& engine_key : dropped) cache_->drop_unlogged(cache_->load(engine_key));
}

}  // namespace millrace::detail
