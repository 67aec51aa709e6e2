// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "metrics/exposition.h"
#include "metrics/registry_state.h"
#include "millrace/metrics.h"

namespace millrace::metrics {
namespace {

detail::Family counter_family(std::string name, std::string help, double unit) {
  return {std::move(name), std::move(help), Kind::kCounter, unit, {}, {}};
}

detail::Family gauge_family(std::string name, std::string help) {
  return {std::move(name), std::move(help), Kind::kGauge, 1, {}, {}};
}

// Bad bounds must be found before a family with them comes into being.
detail::Family histogram_family(std::string name, std::string help, std::vector<double> bounds) {
  return {std::move(name),
          std::move(help),
          Kind::kHistogram,
          1,
          Histogram{std::move(bounds)}.bounds(),
          {}};
}

}  // namespace

Scope::Scope(std::shared_ptr<detail::RegistryState> state) : state_(std::move(state)) {}

Scope::~Scope() { release(); }

Scope& Scope::operator=(Scope&& other) noexcept {
  if (this == &other) return *this;
  release();
  state_ = std::move(other.state_);
  series_ = std::move(other.series_);
  return *this;
}

void Scope::release() noexcept {
  for (const auto& series : series_) state_->release(*series);
  series_.clear();
}

detail::Series& Scope::hold(std::shared_ptr<detail::Series> series) {
  detail::Series& result = *series;
  if (std::find(series_.begin(), series_.end(), series) == series_.end()) {
    series_.push_back(std::move(series));
  } else {
    state_->release(result);  // A scope owns a series once, however often it asks for it.
  }
  return result;
}

Counter& Scope::counter(std::string name, std::string help, Labels labels, double unit) {
  auto series =
      state_->acquire(counter_family(std::move(name), std::move(help), unit), std::move(labels));
  return std::get<Counter>(hold(std::move(series)).instrument);
}

Gauge& Scope::gauge(std::string name, std::string help, Labels labels) {
  auto series = state_->acquire(gauge_family(std::move(name), std::move(help)), std::move(labels));
  return std::get<Gauge>(hold(std::move(series)).instrument);
}

Histogram& Scope::histogram(std::string name, std::string help, Labels labels,
                            std::vector<double> bounds) {
  auto series = state_->acquire(
      histogram_family(std::move(name), std::move(help), std::move(bounds)), std::move(labels));
  return std::get<Histogram>(hold(std::move(series)).instrument);
}

CollectHandle::CollectHandle(std::shared_ptr<detail::RegistryState> state, std::uint64_t id)
    : state_(std::move(state)), id_(id) {}

CollectHandle::~CollectHandle() { release(); }

CollectHandle& CollectHandle::operator=(CollectHandle&& other) noexcept {
  if (this == &other) return *this;
  release();
  state_ = std::move(other.state_);
  id_ = other.id_;
  return *this;
}

void CollectHandle::release() noexcept {
  if (state_) state_->remove_callback(id_);
  state_.reset();
}

Registry::Registry(Labels constant_labels)
    : state_(std::make_shared<detail::RegistryState>(std::move(constant_labels))) {}

Registry::~Registry() = default;

// The registry's own series are acquired and never released: they go with the state.
Counter& Registry::counter(std::string name, std::string help, Labels labels, double unit) {
  return std::get<Counter>(
      state_->acquire(counter_family(std::move(name), std::move(help), unit), std::move(labels))
          ->instrument);
}

Gauge& Registry::gauge(std::string name, std::string help, Labels labels) {
  return std::get<Gauge>(
      state_->acquire(gauge_family(std::move(name), std::move(help)), std::move(labels))
          ->instrument);
}

Histogram& Registry::histogram(std::string name, std::string help, Labels labels,
                               std::vector<double> bounds) {
  return std::get<Histogram>(
      state_
          ->acquire(histogram_family(std::move(name), std::move(help), std::move(bounds)),
                    std::move(labels))
          ->instrument);
}

Scope Registry::scope() { return Scope{state_}; }

CollectHandle Registry::on_collect(std::function<void()> collect) {
  return {state_, state_->add_callback(std::move(collect))};
}

std::string Registry::text() const {
  state_->collect();
  return exposition(*state_);
}

}  // namespace millrace::metrics
