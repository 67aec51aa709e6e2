// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "millrace/error.h"

namespace millrace {

/// Whether `status` tells why something failed. kCancelled does not: it is what becomes of all
/// other records of a transaction in which one has failed, whoever wrote them.
[[nodiscard]] inline bool is_cause(const Status& status) {
  return !status.ok() && status.code() != Code::kCancelled;
}

/// Counts what one writer has produced and what the broker has acknowledged of it.
///
/// Made by `Producer::new_tracker()`; one for the outputs of an epoch, one for each changelog
/// partition whose offsets matter. Written to by one producing thread and by whichever threads
/// serve delivery reports; every question may be asked from any thread. An answer about the end
/// (`done`, `status`, offsets) covers the records whose produce() happened before the question.
class AckTracker {
 public:
  AckTracker() = default;
  AckTracker(const AckTracker&) = delete;
  AckTracker& operator=(const AckTracker&) = delete;

  /// Records handed to librdkafka.
  [[nodiscard]] std::int64_t produced() const { return produced_.load(std::memory_order_acquire); }

  /// Records reported, delivered or failed.
  [[nodiscard]] std::int64_t reported() const { return reported_.load(std::memory_order_acquire); }

  /// True once every record is reported, or the producer is gone and none will be.
  [[nodiscard]] bool done() const {
    return reported() >= produced() || abandoned_.load(std::memory_order_acquire);
  }

  /// The first failure that is a cause (is_cause), else the first; ok if there is none so far.
  /// Takes a lock only after a failure.
  [[nodiscard]] Status status() const;

  /// Smallest and largest acknowledged offset, -1 if none. Meaningful when all records of this
  /// tracker went to one partition.
  [[nodiscard]] std::int64_t offset_min() const { return min_.load(std::memory_order_acquire); }
  [[nodiscard]] std::int64_t offset_max() const { return max_.load(std::memory_order_acquire); }

  /// Records delivered without telling where (a retry the broker knew as a duplicate): whether the
  /// range is contiguous cannot be judged then.
  [[nodiscard]] std::int64_t unknown_offsets() const {
    return unknown_offsets_.load(std::memory_order_acquire);
  }

  /// True if exactly the offsets from `first` on were acknowledged, without a gap and all known.
  /// Precondition: done(), and all records went to one partition.
  [[nodiscard]] bool contiguous_from(std::int64_t first) const;

  /// Starts the next epoch with zero counts. Precondition: done(); no concurrent use.
  void reset();

 private:
  friend class Producer;
  friend class MemoryLog;

  // Only the producing thread writes produced_, so neither needs a locked instruction.
  void on_produced() {
    produced_.store(produced_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  void on_refused() {
    produced_.store(produced_.load(std::memory_order_relaxed) - 1, std::memory_order_release);
  }
  void on_delivered(std::int64_t offset);
  void on_failed(Status error);
  void abandon();

  std::atomic<std::int64_t> produced_{0};
  std::atomic<bool> released_{false};  // No owner is left; the producer may free it when done.
  std::atomic<bool> abandoned_{false};
  std::atomic<bool> failed_{false};

  // On a cache line of its own: written by the threads that serve delivery reports.
  alignas(64) std::atomic<std::int64_t> reported_{0};
  std::atomic<std::int64_t> min_{-1};
  std::atomic<std::int64_t> max_{-1};
  std::atomic<std::int64_t> unknown_offsets_{0};
  mutable std::mutex mutex_;
  Status error_;  // Guarded by mutex_.
};

}  // namespace millrace
