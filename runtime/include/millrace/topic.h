// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "millrace/serde.h"

namespace millrace {

/// A topic with the types of its keys and values: the one way to name a topic. Copyable.
template <class K, class V>
requires Serializable<K> && Serializable<V>
class Topic {
 public:
  using Key = K;
  using Value = V;

  explicit Topic(std::string name) : name_(std::move(name)) {}
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  std::string name_;
};

}  // namespace millrace
