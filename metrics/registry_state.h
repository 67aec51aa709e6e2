// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "metrics/names.h"
#include "millrace/metrics.h"

namespace millrace::metrics::detail {

struct Family;

/// One instrument with its labels. A cache line of its own: neighbours belong to other threads.
struct alignas(64) Series {
  template <class... Args>
  explicit Series(Family& its_family, Labels its_labels, Args&&... args)
      : instrument(std::forward<Args>(args)...),
        family(its_family),
        labels(std::move(its_labels)) {}

  std::variant<Counter, Gauge, Histogram> instrument;  // The index is the Kind.
  Family& family;
  const Labels labels;
  std::size_t owners = 0;  // Scopes, and the registry itself. Protected by the state's mutex.
};

/// The series of one name. Stays when its last series goes, so that the name keeps its meaning.
struct Family {
  std::string name;
  std::string help;
  Kind kind = Kind::kGauge;
  double unit = 1;             // Counters only.
  std::vector<double> bounds;  // Histograms only.
  std::map<Labels, std::shared_ptr<Series>> series;
};

/// What Registry, Scope and CollectHandle share; lives as long as the last of them. Thread-safe.
class RegistryState {
 public:
  explicit RegistryState(Labels constant_labels);

  /// Finds or creates the series of `wanted` (whose own `series` is ignored) with `labels`, and
  /// counts one owner more. Throws std::logic_error as described at Registry.
  [[nodiscard]] std::shared_ptr<Series> acquire(Family wanted, Labels labels);

  /// Takes back one acquire(); the last owner removes the series.
  void release(const Series& series) noexcept;

  [[nodiscard]] std::uint64_t add_callback(std::function<void()> collect);
  void remove_callback(std::uint64_t id) noexcept;

  /// Runs the callbacks.
  void collect();

  /// Calls `visit` for every family that has series, by name, under the lock.
  void visit(const std::function<void(const Family&)>& visit) const;

 private:
  Family& find_or_add(Family wanted);  // Called with mutex_ held.

  const Labels constant_labels_;

  // Held while callbacks run, and always before mutex_.
  std::mutex collect_mutex_;
  std::map<std::uint64_t, std::function<void()>> callbacks_;  // Protected by collect_mutex_.
  std::uint64_t next_callback_ = 1;                           // Likewise.

  mutable std::mutex mutex_;
  std::map<std::string, Family> families_;  // Protected by mutex_; addresses are stable.
};

}  // namespace millrace::metrics::detail
