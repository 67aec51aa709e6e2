// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/ack_tracker.h"

#include <cassert>
#include <utility>

namespace millrace {
namespace {

constexpr std::int64_t kNone = -1;

}  // namespace

Status AckTracker::status() const {
  if (!failed_.load(std::memory_order_acquire)) return {};
  const std::lock_guard lock{mutex_};
  return error_;
}

bool AckTracker::contiguous_from(std::int64_t first) const {
  const std::int64_t count = reported();
  if (count == 0) return true;
  return !failed_.load(std::memory_order_acquire) && unknown_offsets() == 0 &&
         offset_min() == first && offset_max() - offset_min() + 1 == count;
}

void AckTracker::reset() {
  assert(done());
  const std::lock_guard lock{mutex_};
  error_ = {};
  failed_.store(false, std::memory_order_relaxed);
  min_.store(kNone, std::memory_order_relaxed);
  max_.store(kNone, std::memory_order_relaxed);
  unknown_offsets_.store(0, std::memory_order_relaxed);
  reported_.store(0, std::memory_order_relaxed);
  produced_.store(0, std::memory_order_release);
}

// flush() and poll() may serve reports on two threads at once, hence the exchanges. The count comes
// last: whoever sees it sees the offsets, and nothing here is touched after it.
void AckTracker::on_delivered(std::int64_t offset) {
  if (offset < 0) {
    unknown_offsets_.fetch_add(1, std::memory_order_relaxed);
  } else {
    std::int64_t low = min_.load(std::memory_order_relaxed);
    while ((low == kNone || offset < low) &&
           !min_.compare_exchange_weak(low, offset, std::memory_order_relaxed)) {
    }
    std::int64_t high = max_.load(std::memory_order_relaxed);
    while (offset > high && !max_.compare_exchange_weak(high, offset, std::memory_order_relaxed)) {
    }
  }
  reported_.fetch_add(1, std::memory_order_release);
}

void AckTracker::on_failed(Status error) {
  {
    const std::lock_guard lock{mutex_};
    if (error_.ok() || (!is_cause(error_) && is_cause(error))) error_ = std::move(error);
  }
  failed_.store(true, std::memory_order_release);
  reported_.fetch_add(1, std::memory_order_release);
}

void AckTracker::abandon() {
  if (reported() < produced()) {
    const std::lock_guard lock{mutex_};
    if (error_.ok()) {
      error_ =
          Status::cancelled("the producer was closed before the broker acknowledged all records");
    }
    failed_.store(true, std::memory_order_release);
  }
  abandoned_.store(true, std::memory_order_release);
}

}  // namespace millrace
