// SPDX-License-Identifier: Apache-2.0
#include "actors/watchdog.h"

#include <algorithm>

namespace millrace {
namespace {

constexpr int kLooksPerTimeout = 20;

std::string seconds(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s";
}

}  // namespace

Watchdog::Watchdog(const Log& log, metrics::Registry& registry, std::chrono::milliseconds timeout)
    : log_(log),
      timeout_(timeout),
      hanging_(registry.gauge("millrace_tasks_hanging",
                              "Tasks that have been processing one record for longer than "
                              "handler_timeout_ms.")) {}

void Watchdog::watch(TaskId task, std::vector<TopicPartition> inputs,
                     std::weak_ptr<const RecordInHand> hand) {
  if (timeout_.count() == 0) return;
  const std::lock_guard lock{mutex_};
  watched_.push_back({task, std::move(inputs), std::move(hand), std::nullopt, {}, false});
}

void Watchdog::look(std::chrono::nanoseconds now) {
  const std::lock_guard lock{mutex_};
  if (now < next_look_) return;
  next_look_ = now + timeout_ / kLooksPerTimeout;
  std::size_t hanging = 0;
  for (auto& watched : watched_) {
    const auto hand = watched.hand.lock();
    const auto work = hand ? hand->look() : std::nullopt;
    if (!work || work != watched.work) {
      if (watched.hangs)
        log_.warn("task " + to_string(watched.task) + " goes on: it was done with " +
                  name(watched) + " after about " + seconds(now - watched.since));
      watched.work = work;
      watched.since = now;
      watched.hangs = false;
    } else if (!watched.hangs && now - watched.since >= timeout_) {
      watched.hangs = true;
      log_.error("task " + to_string(watched.task) + " hangs: it has been processing " +
                 name(watched) + " for " + seconds(now - watched.since) +
                 " (handler_timeout_ms = " + std::to_string(timeout_.count()) +
                 "), in a user function or in its store; nothing of it is committed meanwhile. If "
                 "it never returns, only a new process helps: let a supervisor watch /livez");
    }
    hanging += watched.hangs ? 1 : 0;
  }
  std::erase_if(watched_, [](const Watched& watched) { return watched.hand.expired(); });
  hanging_.set(static_cast<double>(hanging));
}

std::string Watchdog::hanging() const {
  const std::lock_guard lock{mutex_};
  std::string text;
  for (const auto& watched : watched_) {
    if (watched.hangs)
      text += "task " + to_string(watched.task) + " hangs in " + name(watched) + "\n";
  }
  return text;
}

std::string Watchdog::name(const Watched& watched) {
  if (watched.work->offset == RecordInHand::kTables) return "what has changed in its tables";
  return "record " + to_string(watched.inputs[watched.work->input]) + '@' +
         std::to_string(watched.work->offset);
}

}  // namespace millrace
