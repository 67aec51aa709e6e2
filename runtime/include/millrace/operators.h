// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "millrace/functions.h"
#include "millrace/graph.h"

/// The operators behind the DSL, without state. Users meet them through `millrace/stream.h`.
namespace millrace::detail {

/// The ways out of an operator.
template <class K, class V>
class Outputs {
 public:
  explicit Outputs(const OperatorBuild& build) : receivers_(build.children<K, V>()) {}

  void forward(const Record<K, V>& record) const {
    for (Receiver<K, V>* receiver : receivers_) receiver->receive(record);
  }
  [[nodiscard]] bool empty() const { return receivers_.empty(); }

 private:
  std::vector<Receiver<K, V>*> receivers_;
};

template <class K, class V>
class Source final : public SourceOperator {
 public:
  explicit Source(const OperatorBuild& build) : outputs_(build) {}

  Status receive(const RawRecord& raw) override {
    std::optional<K> key;
    std::optional<V> value;
    if (raw.key) {
      auto decoded = Serde<K>::decode(*raw.key);
      if (!decoded) return Status::invalid_argument("key: " + decoded.error().message());
      key = *std::move(decoded);
    }
    if (raw.value) {
      auto decoded = Serde<V>::decode(*raw.value);
      if (!decoded) return Status::invalid_argument("value: " + decoded.error().message());
      value = *std::move(decoded);
    }
    const std::string_view key_bytes =
        kCanonicalSerde<K> && raw.key ? *raw.key : std::string_view{};
    outputs_.forward(
        {key ? &*key : nullptr, value ? &*value : nullptr, raw.timestamp, raw.headers, key_bytes});
    return {};
  }

 private:
  Outputs<K, V> outputs_;
};

template <class K, class V, class F>
class Filter final : public Operator, public Receiver<K, V> {
 public:
  Filter(const OperatorBuild& build, F predicate)
      : name_(build.name()), outputs_(build), predicate_(std::move(predicate)) {}

  void receive(const Record<K, V>& record) override {
    if constexpr (ValueFunction<F, K, V>) {
      if (!record.has_value()) return outputs_.forward(record);
    }
    if (user_code(name_, [&]() -> bool { return call(predicate_, record); }))
      outputs_.forward(record);
  }

 private:
  const std::string name_;
  Outputs<K, V> outputs_;
  const F predicate_;
};

template <class K, class V, class V2, class F>
class MapValues final : public Operator, public Receiver<K, V> {
 public:
  MapValues(const OperatorBuild& build, F function)
      : name_(build.name()), outputs_(build), function_(std::move(function)) {}

  void receive(const Record<K, V>& record) override {
    if constexpr (ValueFunction<F, K, V>) {
      if (!record.has_value()) return forward(record, nullptr);
    }
    const V2 value = user_code(name_, [&] { return call(function_, record); });
    forward(record, &value);
  }

 private:
  void forward(const Record<K, V>& record, const V2* value) const {
    outputs_.forward({record.key_or_null(), value, record.timestamp(), record.header_source(),
                      record.key_bytes()});
  }

  const std::string name_;
  Outputs<K, V2> outputs_;
  const F function_;
};

template <class K, class V, class K2, class V2, class F>
class FlatMap final : public Operator, public Receiver<K, V> {
 public:
  FlatMap(const OperatorBuild& build, F function)
      : name_(build.name()), outputs_(build), function_(std::move(function)) {}

  void receive(const Record<K, V>& record) override {
    if constexpr (ValueFunction<F, K, V>) {
      if (!record.has_value()) return;  // There is no value to make records of.
    }
    for (const auto& [key, value] : user_code(name_, [&] { return call(function_, record); })) {
      outputs_.forward({&key, &value, record.timestamp(), record.header_source()});
    }
  }

 private:
  const std::string name_;
  Outputs<K2, V2> outputs_;
  const F function_;
};

template <class K, class V, class F>
class Peek final : public Operator, public Receiver<K, V> {
 public:
  Peek(const OperatorBuild& build, F function)
      : name_(build.name()), outputs_(build), function_(std::move(function)) {}

  void receive(const Record<K, V>& record) override {
    if constexpr (ValueFunction<F, K, V>) {
      if (record.has_value()) user_code(name_, [&] { call(function_, record); });
    } else {
      user_code(name_, [&] { call(function_, record); });
    }
    outputs_.forward(record);
  }

 private:
  const std::string name_;
  Outputs<K, V> outputs_;
  const F function_;
};

/// Hands on records as they are: a table's changes as a stream.
template <class K, class V>
class PassOn final : public Operator, public Receiver<K, V> {
 public:
  explicit PassOn(const OperatorBuild& build) : outputs_(build) {}
  void receive(const Record<K, V>& record) override { outputs_.forward(record); }

 private:
  Outputs<K, V> outputs_;
};

template <class K, class V>
class SinkTo final : public Operator, public Receiver<K, V> {
 public:
  SinkTo(const OperatorBuild& build, const std::string& topic)
      : context_(build.context()), sink_(build.sink(topic)) {}

  void receive(const Record<K, V>& record) override {
    std::optional<std::string_view> key;
    std::optional<std::string_view> value;
    if (!record.key_bytes().empty()) {
      key = record.key_bytes();
    } else if (record.has_key()) {
      key_bytes_.clear();
      Serde<K>::encode(record.key(), key_bytes_);
      key = key_bytes_;
    }
    if (record.has_value()) {
      value_bytes_.clear();
      Serde<V>::encode(record.value(), value_bytes_);
      value = value_bytes_;
    }
    context_.send(sink_, key, value, record.timestamp(), record.header_source());
  }

 private:
  TaskContext& context_;
  const TaskContext::SinkIndex sink_;
  std::string key_bytes_;
  std::string value_bytes_;
};

}  // namespace millrace::detail
