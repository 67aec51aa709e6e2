// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::metrics {

/// Label names and values, in any order. A label with an empty value is the same as no label.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// True when `name` may be a label of ours: letters, digits and underscores, not starting with a
/// digit or two underscores, and neither `le` nor `quantile`. For checking a user's settings.
[[nodiscard]] bool is_label_name(std::string_view name);

/// A number that only grows. Lives in a Registry.
///
/// One thread at a time writes; any thread may read. Costs as much as a plain integer.
class Counter {
 public:
  /// Called by the counter's one writer.
  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  /// For a counter with several writers: all of them must use this one. Any thread.
  void add_shared(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }

  /// Follows a total that somebody else counts, such as a statistic of librdkafka. A lower total
  /// changes nothing. Called by the counter's one writer.
  void raise_to(std::uint64_t total) {
    if (total > value()) value_.store(total, std::memory_order_relaxed);
  }

  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A number that goes up and down. Lives in a Registry. Any thread may write and read.
class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }

  /// Adds `delta`, which may be negative. No addition is lost between concurrent callers.
  void add(double delta) {
    double old = value_.load(std::memory_order_relaxed);
    while (!value_.compare_exchange_weak(old, old + delta, std::memory_order_relaxed)) {
    }
  }

  [[nodiscard]] double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

/// How many observations fell below each of some bounds. Lives in a Registry.
///
/// One thread at a time observes; any thread may take a snapshot.
class Histogram {
 public:
  struct Snapshot {
    /// Observations up to and including each bound; one more element for all of them.
    std::vector<std::uint64_t> cumulative;
    double sum = 0;
  };

  /// `bounds` are the inclusive upper ends of the buckets: finite, ascending, at least one. The
  /// bucket that takes the rest is implied. Throws std::invalid_argument otherwise.
  explicit Histogram(std::vector<double> bounds);

  /// Counts `value`. NaN is ignored.
  void observe(double value);

  /// The counts are consistent among themselves; the sum may be an observation ahead or behind.
  [[nodiscard]] Snapshot snapshot() const;

  [[nodiscard]] const std::vector<double>& bounds() const { return bounds_; }

 private:
  const std::vector<double> bounds_;
  std::vector<std::atomic<std::uint64_t>> counts_;  // Not cumulative; the last takes the rest.
  std::atomic<double> sum_{0};
};

/// Bounds in seconds for whatever takes time: 500 us to 10 s, six per decade, for quantiles.
[[nodiscard]] std::vector<double> duration_bounds();

namespace detail {
class RegistryState;
struct Series;
}  // namespace detail

/// The series of one component, such as a task: they leave the exposition when the Scope goes.
///
/// References to instruments stay valid while the Scope lives, even if the Registry is gone. A
/// series that two scopes ask for is one instrument and goes with the last of them. Creating and
/// destroying is not for the hot path (takes the registry's lock); a Scope is used by one thread at
/// a time. The functions, their arguments and exceptions are those of Registry.
class Scope {
 public:
  Scope(Scope&&) noexcept = default;
  Scope& operator=(Scope&& other) noexcept;
  ~Scope();

  Counter& counter(std::string name, std::string help, Labels labels = {}, double unit = 1);
  Gauge& gauge(std::string name, std::string help, Labels labels = {});
  Histogram& histogram(std::string name, std::string help, Labels labels,
                       std::vector<double> bounds);

 private:
  friend class Registry;
  explicit Scope(std::shared_ptr<detail::RegistryState> state);
  detail::Series& hold(std::shared_ptr<detail::Series> series);
  void release() noexcept;

  std::shared_ptr<detail::RegistryState> state_;
  std::vector<std::shared_ptr<detail::Series>> series_;
};

/// Keeps a function registered with Registry::on_collect. Its destruction waits until a running
/// call has returned; afterwards the function is never called again.
class [[nodiscard]] CollectHandle {
 public:
  CollectHandle(CollectHandle&&) noexcept = default;
  CollectHandle& operator=(CollectHandle&& other) noexcept;
  ~CollectHandle();

 private:
  friend class Registry;
  CollectHandle(std::shared_ptr<detail::RegistryState> state, std::uint64_t id);
  void release() noexcept;

  std::shared_ptr<detail::RegistryState> state_;
  std::uint64_t id_ = 0;
};

/// All series of one App, and their text exposition. Thread-safe.
///
/// The functions that return an instrument create it or find the one that is there. They throw
/// std::logic_error when the call is wrong: a bad name (counters end in `_total`, nothing else
/// does; nothing ends in `_count`, `_sum` or `_bucket`), an empty help, a bad or repeated label
/// name, or a name that exists with another kind, help, unit or bounds. Bytes of a label value that
/// are not UTF-8 are replaced, since one of them would spoil the whole exposition.
class Registry {
 public:
  /// `constant_labels` are added to every series; where a series has a label of the same name, the
  /// series' own value counts. Throws std::logic_error for a name that is not is_label_name().
  explicit Registry(Labels constant_labels = {});
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// Instruments made here live as long as the Registry. `unit` is what a count of one is worth in
  /// the exposition: 1e-9 lets a counter of nanoseconds appear as seconds.
  Counter& counter(std::string name, std::string help, Labels labels = {}, double unit = 1);
  Gauge& gauge(std::string name, std::string help, Labels labels = {});
  Histogram& histogram(std::string name, std::string help, Labels labels,
                       std::vector<double> bounds);

  /// A Scope for series that live shorter than the Registry.
  [[nodiscard]] Scope scope();

  /// Calls `collect` at the start of each text(), on the thread that asks, one call at a time. It
  /// may create series and set them; it must not block, call text() or on_collect(), or destroy a
  /// CollectHandle. What it throws comes out of text().
  CollectHandle on_collect(std::function<void()> collect);

  /// The Prometheus text exposition, version 0.0.4: families by name, series by labels.
  [[nodiscard]] std::string text() const;

 private:
  std::shared_ptr<detail::RegistryState> state_;
};

}  // namespace millrace::metrics
