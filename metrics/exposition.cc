// SPDX-License-Identifier: Apache-2.0
#include "metrics/exposition.h"

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>
#include <prometheus/text_serializer.h>

#include <vector>

namespace millrace::metrics {
namespace {

prometheus::MetricType to_prometheus(Kind kind) {
  switch (kind) {
    case Kind::kCounter:
      return prometheus::MetricType::Counter;
    case Kind::kGauge:
      return prometheus::MetricType::Gauge;
    case Kind::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

prometheus::ClientMetric::Histogram to_prometheus(const Histogram& histogram) {
  const Histogram::Snapshot snapshot = histogram.snapshot();
  prometheus::ClientMetric::Histogram result;
  result.sample_count = snapshot.cumulative.back();
  result.sample_sum = snapshot.sum;
  for (std::size_t i = 0; i < histogram.bounds().size(); ++i) {
    result.bucket.push_back({snapshot.cumulative[i], histogram.bounds()[i]});
  }
  return result;
}

prometheus::ClientMetric to_prometheus(const detail::Series& series) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : series.labels) metric.label.push_back({name, value});
  if (const auto* counter = std::get_if<Counter>(&series.instrument)) {
    metric.counter.value = static_cast<double>(counter->value()) * series.family.unit;
  } else if (const auto* gauge = std::get_if<Gauge>(&series.instrument)) {
    metric.gauge.value = gauge->value();
  } else {
    metric.histogram = to_prometheus(std::get<Histogram>(series.instrument));
  }
  return metric;
}

// prometheus-cpp 1.0 escapes label values but writes the help as it is.
std::string escaped_help(const std::string& help) {
  std::string result;
  for (const char c : help) {
    if (c == '\\') {
      result += "\\\\";
    } else if (c == '\n') {
      result += "\\n";
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace

std::string exposition(const detail::RegistryState& state) {
  std::vector<prometheus::MetricFamily> families;
  state.visit([&families](const detail::Family& family) {
    prometheus::MetricFamily& copy = families.emplace_back();
    copy.name = family.name;
    copy.help = escaped_help(family.help);
    copy.type = to_prometheus(family.kind);
    for (const auto& [labels, series] : family.series)
      copy.metric.push_back(to_prometheus(*series));
  });
  return prometheus::TextSerializer{}.Serialize(families);
}

}  // namespace millrace::metrics
