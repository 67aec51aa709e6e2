// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace millrace {

/// Whether a restore that was asked for is still wanted, and whether it has begun. Between the
/// Supervisor, which cancels it, and the Restorer, whose queue may be long. Thread-safe.
class RestoreOrder {
 public:
  /// Its turn has come. False: it is not wanted any more, and nothing may be opened for it.
  bool begin() {
    State queued = State::kQueued;
    return state_.compare_exchange_strong(queued, State::kBegun);
  }
  /// True: it had not begun, and never will. False: it ends soon, its answer is to be waited for.
  bool cancel() { return state_.exchange(State::kCancelled) == State::kQueued; }
  [[nodiscard]] bool cancelled() const { return state_ == State::kCancelled; }

 private:
  enum class State : std::uint8_t { kQueued, kBegun, kCancelled };
  std::atomic<State> state_{State::kQueued};
};

}  // namespace millrace
