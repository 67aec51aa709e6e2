// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
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

/// Of a window store. Size and retention are required.
struct WindowStoreOptions {
  /// How long a window is, from its start (inclusive) to its end (exclusive).
  std::chrono::milliseconds size = std::chrono::milliseconds::zero();
  /// How far the starts of the windows kept reach back from the latest one; not shorter than `size`. For an aggregation
  /// with a grace period: size + grace at least.
  std::chrono::milliseconds retention = std::chrono::milliseconds::zero();
  /// A further value for a key and window is kept beside the first, as joins need it.
  bool duplicates = false;
};

/// Of a session store. The retention is required.
struct SessionStoreOptions {
  /// How far the ends of the sessions kept reach back from the latest one; longer than gap + grace.
  std::chrono::milliseconds retention = std::chrono::milliseconds::zero();
};

/// Of a versioned store. The history is required.
struct VersionedStoreOptions {
  /// How far back from the latest time one can ask for values, and put them; 0: the latest only.
  std::chrono::milliseconds history_retention = std::chrono::milliseconds{-1};
};

}  // namespace millrace
