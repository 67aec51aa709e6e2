// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/log.h"
#include "millrace/metrics.h"
#include "runtime/record_in_hand.h"
#include "runtime/task_plan.h"

namespace millrace {

/// Finds tasks that hang in one record and names it. A hanging thread cannot be ended: what helps
/// is a new process, which `/livez` asks for.
///
/// Thread-safe.
class Watchdog {
 public:
  /// `timeout`: how long a record may be in hand. 0: nobody looks.
  Watchdog(const Log& log, metrics::Registry& registry, std::chrono::milliseconds timeout);

  /// A task and where it tells what it works on; forgotten when that is gone.
  void watch(TaskId task, std::vector<TopicPartition> inputs,
             std::weak_ptr<const RecordInHand> hand);

  /// Looks at all tasks, at most once in a twentieth of the timeout. Called by a thread that runs
  /// no user code; the log has a line for each record that begins to hang, and when it is done.
  void look(std::chrono::nanoseconds now);

  /// The records that hang, a sentence each; empty if none does.
  [[nodiscard]] std::string hanging() const;

 private:
  struct Watched {
    TaskId task;
    std::vector<TopicPartition> inputs;
    std::weak_ptr<const RecordInHand> hand;
    std::optional<RecordInHand::Work> work;  // At the last look.
    std::chrono::nanoseconds since{};        // When it was first seen.
    bool hangs = false;
  };
  [[nodiscard]] static std::string name(const Watched& watched);

  const Log& log_;
  const std::chrono::milliseconds timeout_;
  metrics::Gauge& hanging_;
  mutable std::mutex mutex_;
  std::vector<Watched> watched_;
  std::chrono::nanoseconds next_look_{};
};

}  // namespace millrace
