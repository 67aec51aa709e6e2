// SPDX-License-Identifier: Apache-2.0
#include "metrics/registry_state.h"

#include <stdexcept>

namespace millrace::metrics::detail {
namespace {

std::shared_ptr<Series> make_series(Family& family, const Labels& labels) {
  switch (family.kind) {
    case Kind::kCounter:
      return std::make_shared<Series>(family, labels, std::in_place_type<Counter>);
    case Kind::kGauge:
      return std::make_shared<Series>(family, labels, std::in_place_type<Gauge>);
    case Kind::kHistogram:
      return std::make_shared<Series>(family, labels, std::in_place_type<Histogram>, family.bounds);
  }
  throw std::logic_error("metric '" + family.name + "' has no kind");
}

}  // namespace

RegistryState::RegistryState(Labels constant_labels)
    : constant_labels_(normalized(std::move(constant_labels), {})) {}

std::shared_ptr<Series> RegistryState::acquire(Family wanted, Labels labels) {
  check_metric_name(wanted.name, wanted.kind);
  if (wanted.help.empty()) throw std::logic_error("metric '" + wanted.name + "' has no help");
  labels = normalized(std::move(labels), constant_labels_);

  const std::lock_guard lock{mutex_};
  Family& family = find_or_add(std::move(wanted));
  auto found = family.series.find(labels);
  if (found == family.series.end()) {
    found = family.series.emplace(labels, make_series(family, labels)).first;
  }
  ++found->second->owners;
  return found->second;
}

Family& RegistryState::find_or_add(Family wanted) {
  const auto found = families_.find(wanted.name);
  if (found == families_.end()) {
    std::string name = wanted.name;
    return families_.emplace(std::move(name), std::move(wanted)).first->second;
  }
  const Family& known = found->second;
  if (wanted.kind != known.kind || wanted.help != known.help || wanted.unit != known.unit ||
      wanted.bounds != known.bounds) {
    throw std::logic_error("metric '" + known.name +
                           "' exists with another kind, help, unit or bounds");
  }
  return found->second;
}

void RegistryState::release(const Series& series) noexcept {
  const std::lock_guard lock{mutex_};
  const auto found = series.family.series.find(series.labels);
  if (--found->second->owners == 0) series.family.series.erase(found);
}

std::uint64_t RegistryState::add_callback(std::function<void()> collect) {
  const std::lock_guard lock{collect_mutex_};
  callbacks_.emplace(next_callback_, std::move(collect));
  return next_callback_++;
}

void RegistryState::remove_callback(std::uint64_t id) noexcept {
  const std::lock_guard lock{collect_mutex_};
  callbacks_.erase(id);
}

void RegistryState::collect() {
  const std::lock_guard lock{collect_mutex_};
  for (const auto& [id, callback] : callbacks_) callback();
}

void RegistryState::visit(const std::function<void(const Family&)>& visit) const {
  const std::lock_guard lock{mutex_};
  for (const auto& [name, family] : families_) {
    if (!family.series.empty()) visit(family);
  }
}

}  // namespace millrace::metrics::detail
