// SPDX-License-Identifier: Apache-2.0
#include "millrace/versions.h"

#include <limits>
#include <vector>

namespace millrace::detail {

// Versions stand in the order of their times, later ones first.
std::unique_ptr<StateScan> Versions::down_from(std::string_view key, std::int64_t time) const {
  cache_->layout().compose(key, time, 0, first_);
  cache_->layout().compose(key, KeyLayout::kNoTime, 0, last_);
  auto scan = cache_->scan(first_, last_);
  skip_others(*scan, key);
  return scan;
}

// Keys that begin with this key's bytes may stand between.
void Versions::skip_others(StateScan& scan, std::string_view key) const {
  while (scan.valid() && cache_->layout().key_of(scan.key()) != key) scan.next();
}

std::unique_ptr<StateScan> Versions::as_of(std::string_view key, std::int64_t time) const {
  const KeyLayout& layout = cache_->layout();
  if (layout.is_live(time, cache_->observed_time())) return down_from(key, time);
  auto latest = down_from(key, std::numeric_limits<std::int64_t>::max());
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
// keeps the others for as long as it likes: a restore brings them back, and the next put of the key
// drops them again.
void Versions::drop_unreachable(std::string_view key) {
  std::vector<std::string> dropped;
  {
    auto scan = down_from(key, cache_->layout().live_from(cache_->observed_time()));
    if (!scan->valid()) return;
    for (scan->next(), skip_others(*scan, key); scan->valid();
         scan->next(), skip_others(*scan, key)) {
      dropped.emplace_back(scan->key());
    }
  }
  for (const auto& engine_key : dropped) cache_->drop_unlogged(cache_->load(engine_key));
}

}  // namespace millrace::detail
