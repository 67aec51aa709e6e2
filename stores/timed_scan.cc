// SPDX-License-Identifier: Apache-2.0
#include "millrace/timed_scan.h"

#include <algorithm>
#include <string>
#include <tuple>

namespace millrace {

TimedScan::TimedScan(StateCache& cache, std::optional<std::string_view> key, std::int64_t from,
                     std::int64_t to)
    : layout_(&cache.layout()), key_(key), from_(from), to_(to) {
  const std::int64_t observed = cache.observed_time();
  if (observed == KeyLayout::kNoTime) return;  // Nothing was ever put.
  from_ = std::max(from_, layout_->live_from(observed));
  to_ = std::min(to_, observed);
  if (from_ > to_) return;
  open_segments(cache);
  choose();
}

void TimedScan::open_segments(StateCache& cache) {
  const std::int64_t first = layout_->segment_of(from_);
  const std::int64_t last = layout_->segment_of(to_);
  for (std::int64_t segment = first;; ++segment) {
    std::string low = KeyLayout::segment_prefix(segment);
    std::string high = low;
    if (key_) {
      // The bounds of the key's own entries in the segment, where times have one sign and sort as
      // bytes.
      if (segment == first)
        layout_->compose(*key_, from_, 0, low);
      else
        low += *key_;
      if (segment == last)
        layout_->compose(*key_, to_, -1, high);
      else
        high += *key_ + std::string(sizeof(std::int64_t) + layout_->detail_bytes(), '\xff');
    } else {
      high = KeyLayout::segment_prefix(segment + 1);  // No entry: all are longer.
    }
    auto scan = cache.scan(low, high);
    skip_others(*scan);
    if (scan->valid()) segments_.push_back(std::move(scan));
    if (segment == last) break;
  }
}

// Entries of other keys that sort between those of the one wanted, and of other times.
void TimedScan::skip_others(StateScan& segment) const {
  for (; segment.valid(); segment.next()) {
    const std::string_view engine_key = segment.key();
    if (key_ && layout_->key_of(engine_key) != *key_) continue;
    const std::int64_t time = layout_->time_of(engine_key);
    if (time >= from_ && time <= to_) return;
  }
}

void TimedScan::next() {
  current_->next();
  skip_others(*current_);
  choose();
}

void TimedScan::choose() {
  current_ = nullptr;
  const auto place = [this](const StateScan& scan) {
    return std::tuple{layout_->key_of(scan.key()), layout_->time_of(scan.key()),
                      layout_->detail_of(scan.key())};
  };
  for (const auto& segment : segments_) {
    if (!segment->valid()) continue;
    if (current_ == nullptr || place(*segment) < place(*current_)) current_ = segment.get();
    if (key_) return;  // Of one key, the segments follow one another.
  }
}

}  // namespace millrace
