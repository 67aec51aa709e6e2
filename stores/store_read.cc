// SPDX-License-Identifier: Apache-2.0
#include "millrace/store_read.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace millrace {
namespace {

constexpr std::size_t kPageBytesMax = std::size_t{1} << 20;
constexpr std::size_t kPassedMax = 10'000;
// Engine and overlay share a page; deletions in the overlay yield nothing.
constexpr std::size_t kOverlaySpare = 64;

using Bound = std::optional<std::string_view>;

// Fills one page from ranges of engine keys, which come in ascending order.
class PageReader {
 public:
  PageReader(StateCache& cache, const ReadRequest& request)
      : cache_(cache), layout_(cache.layout()), request_(request) {}

  /// False: the page is full or another limit is reached; `resume` says where.
  bool read(Bound low, Bound high) {
    std::string behind;
    if (request_.after && (!low || *low <= *request_.after)) {
      if (high && *high <= *request_.after) return true;
      behind = *request_.after + '\0';
      low = behind;
    }
    std::optional<std::string> end;
    const auto scan =
        cache_.scan_part(low, high, request_.level, request_.entries_max + kOverlaySpare, &end);
    for (; scan->valid(); scan->next()) {
      if (full()) return stop();
      last_ = scan->key();
      if (wanted(last_)) {
        add(*scan);
      } else {
        ++passed_;
      }
    }
    if (!end) return true;
    last_ = *std::move(end);
    return stop();
  }

  ReadPage page() && { return std::move(page_); }

 private:
  [[nodiscard]] bool full() const {
    return page_.entries.size() >= request_.entries_max || bytes_ >= kPageBytesMax ||
           passed_ >= kPassedMax;
  }
  bool stop() {
    page_.resume = last_;
    return false;
  }
  // Entries of other keys may stand between those of one, and other times between those asked for.
  [[nodiscard]] bool wanted(std::string_view engine_key) const {
    if (!layout_.observes_time()) return true;
    if (request_.key && layout_.key_of(engine_key) != *request_.key) return false;
    if (!layout_.expires()) return true;
    const std::int64_t time = layout_.time_of(engine_key);
    const bool session = layout_.kind() == StoreKind::kSession;
    return time >= from() && time <= request_.time_to &&
           (!session || layout_.detail_of(engine_key) <= request_.detail_max);
  }
  [[nodiscard]] std::int64_t from() const {
    return std::max(request_.time_from, layout_.live_from(cache_.observed_time(request_.level)));
  }
  void add(const StateScan& scan) {
    StoredEntry entry;
    entry.timestamp = scan.timestamp();
    entry.key = scan.key();
    if (layout_.observes_time()) {
      entry.key = layout_.key_of(scan.key());
      entry.time = layout_.time_of(scan.key());
      entry.detail = layout_.detail_of(scan.key());
    }
    cache_.ops().encode(scan.value(), entry.value);
    bytes_ += entry.key.size() + entry.value.size();
    page_.entries.push_back(std::move(entry));
  }

  StateCache& cache_;
  const KeyLayout& layout_;
  const ReadRequest& request_;
  ReadPage page_;
  std::string last_;
  std::size_t bytes_ = 0;
  std::size_t passed_ = 0;
};

ReadPage read_key_value(StateCache& cache, const ReadRequest& request) {
  if (!request.key) {
    PageReader reader{cache, request};
    reader.read(request.from, request.to);
    return std::move(reader).page();
  }
  ReadPage page;
  if (auto found = cache.read(*request.key, request.level)) {
    page.entries.push_back({std::move(found->key), std::move(found->value), found->timestamp});
  }
  return page;
}

// Segment by segment: within one, the entries of a key stand together.
ReadPage read_timed(StateCache& cache, const ReadRequest& request) {
  const KeyLayout& layout = cache.layout();
  const std::int64_t observed = cache.observed_time(request.level);
  if (observed == KeyLayout::kNoTime) return {};  // Nothing was ever put.
  const std::int64_t from = std::max(request.time_from, layout.live_from(observed));
  const std::int64_t to = std::min(request.time_to, observed);
  if (from > to) return {};
  PageReader reader{cache, request};
  const std::int64_t last = layout.segment_of(to);
  for (std::int64_t segment = layout.segment_of(from); segment <= last; ++segment) {
    std::string low = KeyLayout::segment_prefix(segment);
    std::string high = KeyLayout::segment_prefix(segment + 1);  // No entry: all are longer.
    if (request.key) {
      high = low + *request.key + std::string(sizeof(std::int64_t) + layout.detail_bytes(), '\xff');
      low += *request.key;
    }
    if (!reader.read(low, high)) break;
  }
  return std::move(reader).page();
}

// Versions of a key stand beside each other, later ones first: the first one is the answer.
ReadPage read_versioned(StateCache& cache, const ReadRequest& request) {
  const KeyLayout& layout = cache.layout();
  const bool live = layout.is_live(request.time_to, cache.observed_time(request.level));
  std::string low;
  std::string high;
  layout.compose(*request.key, live ? request.time_to : std::numeric_limits<std::int64_t>::max(), 0,
                 low);
  layout.compose(*request.key, KeyLayout::kNoTime, 0, high);
  ReadRequest one = request;
  one.entries_max = 1;
  PageReader reader{cache, one};
  reader.read(low, high);
  ReadPage page = std::move(reader).page();
  if (page.entries.empty()) return page;
  page.resume.reset();
  // Before the history only the latest version is known, if it was in effect then.
  if (page.entries.front().time > request.time_to) page.entries.clear();
  return page;
}

}  // namespace

ReadPage read_page(StateCache& cache, const ReadRequest& request) {
  switch (cache.layout().kind()) {
    case StoreKind::kKeyValue:
      return read_key_value(cache, request);
    case StoreKind::kWindow:
    case StoreKind::kSession:
      return read_timed(cache, request);
    case StoreKind::kVersioned:
      return read_versioned(cache, request);
  }
  return {};
}

}  // namespace millrace
