// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "millrace/engine.h"

namespace millrace {

/// Names and configures a store. A plain string is a store with the defaults.
class StoreOptions {
 public:
  StoreOptions(std::string name) : name_(std::move(name)) {}
  StoreOptions(const char* name) : name_(name) {}

  /// What the store keeps its bytes in; default: `Config::engine`. The same factory may serve many stores.
  StoreOptions& engine(std::shared_ptr<EngineFactory> factory) {
    engine_ = std::move(factory);
    return *this;
  }

  /// Hands on every update of a table instead of the last one per key at each commit.
  StoreOptions& forward_every_update() {
    forward_every_update_ = true;
    return *this;
  }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::shared_ptr<EngineFactory>& engine() const { return engine_; }
  [[nodiscard]] bool forwards_every_update() const { return forward_every_update_; }

 private:
  std::string name_;
  std::shared_ptr<EngineFactory> engine_;
  bool forward_every_update_ = false;
};

}  // namespace millrace
