// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/state_cache.h"

namespace millrace {

/// Walks the live entries of a window or session store: a consistent cut made at its creation, read
/// as it goes.
///
/// Of one key: in the order of time, then detail. Of all keys: in the byte order of the encoded
/// key, then of time. Where one key's bytes begin another key's, the entries of these two may stand
/// between each other's.
///
/// Times are window starts or session ends in milliseconds, both bounds inclusive. Belongs to the
/// task's thread and must go before its store. May throw StoreFailure.
class TimedScan {
 public:
  /// Of the entries whose time is within [from, to]; nullopt as `key` means all keys. `key` is
  /// copied.
  TimedScan(StateCache& cache, std::optional<std::string_view> key, std::int64_t from,
            std::int64_t to);

  [[nodiscard]] bool valid() const { return current_ != nullptr; }
  /// Preconditions of these: `valid()`. What they return lives until `next()`.
  void next();
  [[nodiscard]] std::string_view key() const { return layout_->key_of(current_->key()); }
  [[nodiscard]] std::int64_t time() const { return layout_->time_of(current_->key()); }
  [[nodiscard]] std::int64_t detail() const { return layout_->detail_of(current_->key()); }
  [[nodiscard]] const void* value() const { return current_->value(); }
  [[nodiscard]] Timestamp timestamp() const { return current_->timestamp(); }

 private:
  void open_segments(StateCache& cache);
  void skip_others(StateScan& segment) const;
  void choose();

  const KeyLayout* layout_;
  std::optional<std::string> key_;
  std::int64_t from_;
  std::int64_t to_;
  std::vector<std::unique_ptr<StateScan>> segments_;  // Few: what is live spans four at most.
  StateScan* current_ = nullptr;
};

/// Entries of a TimedScan as a range, decoded one by one by `Decode`: `Entry operator()(const
/// TimedScan&)`.
template <class Entry, class Decode>
class TimedRange {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Entry;
    using difference_type = std::ptrdiff_t;
    using pointer = const Entry*;
    using reference = Entry;

    iterator() = default;
    explicit iterator(TimedScan* scan, std::int64_t detail_max)
        : scan_(scan), detail_max_(detail_max) {
      settle();
    }
    Entry operator*() const { return Decode{}(*scan_); }
    iterator& operator++() {
      scan_->next();
      settle();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return scan_ == nullptr || !scan_->valid(); }

   private:
    void settle() {
      while (scan_->valid() && scan_->detail() > detail_max_) scan_->next();
    }
    TimedScan* scan_ = nullptr;
    std::int64_t detail_max_ = 0;
  };

  /// Passes over entries whose detail (a session's start) is above `detail_max`.
  explicit TimedRange(TimedScan scan,
                      std::int64_t detail_max = std::numeric_limits<std::int64_t>::max())
      : scan_(std::make_unique<TimedScan>(std::move(scan))), detail_max_(detail_max) {}
  /// Once.
  [[nodiscard]] iterator begin() const { return iterator{scan_.get(), detail_max_}; }
  [[nodiscard]] std::default_sentinel_t end() const { return {}; }

 private:
  std::unique_ptr<TimedScan> scan_;
  std::int64_t detail_max_;
};

}  // namespace millrace
