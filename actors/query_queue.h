// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "millrace/time.h"

namespace millrace {

class Task;

/// A read of a task's stores, run by its actor between batches. Dropped unanswered, it answers "not
/// ready".
class Query {
 public:
  explicit Query(std::function<void(Task*)> run) : run_(std::move(run)) {}
  ~Query() {
    if (run_) run_(nullptr);
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  void answer(Task& task) {
    run_(&task);
    run_ = nullptr;
  }

 private:
  std::function<void(Task*)> run_;
};
using QueryPtr = std::shared_ptr<Query>;

/// Reads that wait for a task. However many come, processing gets its turns: between two of them
/// reads have a bounded time, and one read at least. Used by the task's thread.
class QueryQueue {
 public:
  static constexpr std::chrono::milliseconds kTurn{5};
  static constexpr std::size_t kWaitingMax = 1024;

  explicit QueryQueue(const Clock& clock) : clock_(&clock) {}

  /// Beyond kWaitingMax a read is dropped.
  void push(QueryPtr query) {
    if (waiting_.size() < kWaitingMax) waiting_.push_back(std::move(query));
  }
  /// Processing has had its turn.
  void begin_turn() { spent_ = {}; }
  [[nodiscard]] bool turn_over() const { return spent_ >= kTurn; }
  [[nodiscard]] bool empty() const { return waiting_.empty(); }

  /// Answers what waits until the turn is over.
  void serve(Task& task) {
    while (!waiting_.empty() && !turn_over()) {
      const auto began = clock_->elapsed();
      waiting_.front()->answer(task);
      waiting_.pop_front();
      spent_ += clock_->elapsed() - began;
    }
  }
  /// Drops what waits.
  void clear() { waiting_.clear(); }

 private:
  const Clock* clock_;
  std::deque<QueryPtr> waiting_;
  std::chrono::nanoseconds spent_{};
};

}  // namespace millrace
