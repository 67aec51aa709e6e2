// SPDX-License-Identifier: Apache-2.0
#include "runtime/restart_pause.h"

#include <algorithm>

namespace millrace {
namespace {

// Beyond it the pause is at its maximum in any case, and shifting on would overflow.
constexpr std::size_t kDoublingsMax = 16;
constexpr int kSteadyPauses = 10;

}  // namespace

std::chrono::milliseconds restart_pause(const Config& config, std::size_t failures,
                                        std::mt19937_64& random) {
  const auto doublings =
      std::min<std::size_t>(std::max<std::size_t>(failures, 1) - 1, kDoublingsMax);
  const auto whole =
      std::min(config.task_restart_backoff * (1 << doublings), config.task_restart_backoff_max);
  const auto half = whole / 2;
  std::uniform_int_distribution<std::chrono::milliseconds::rep> part{half.count(), whole.count()};
  return std::chrono::milliseconds{part(random)};
}

std::size_t failures_in_row(const Config& config, std::size_t before, bool progressed,
                            std::chrono::nanoseconds ran) {
  return progressed || ran >= kSteadyPauses * config.task_restart_backoff_max ? 1 : before + 1;
}

}  // namespace millrace
