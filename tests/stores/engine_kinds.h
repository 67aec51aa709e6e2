// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/engine.h"
#include "tests/stores/engine_model.h"
#include "tests/support/redis_server.h"

namespace millrace::testing {

/// An engine that the conformance tests run on.
struct EngineKind {
  std::string_view name;
  bool counts_memory;  ///< Of its own or its server's process; LMDB's is the page cache.
  bool counts_disk;
  std::shared_ptr<EngineFactory> (*make)();
};

/// One server for all tests of this executable that need no other.
inline RedisServer& shared_redis() {
  static RedisServer server;
  return server;
}

/// All that this build has.
inline std::vector<EngineKind> engine_kinds() {
  static constexpr std::array kAll{
      EngineKind{"memory", true, false, [] { return engines::memory(); }},
      EngineKind{"rocksdb", true, true, [] { return engines::rocksdb(); }},
      EngineKind{"lmdb", false, true, [] { return engines::lmdb(); }},
      EngineKind{"redis", true, false,
                 [] { return engines::redis({.address = shared_redis().address()}); }},
  };
  std::vector<EngineKind> kinds;
  for (const EngineKind& kind : kAll) {
    if (std::ranges::find(engines::names(), kind.name) != engines::names().end()) {
      kinds.push_back(kind);
    }
  }
  return kinds;
}

/// An engine with two stores in a place of its own, and how to open it again.
class Subject {
 public:
  explicit Subject(const EngineKind& kind) : kind_(kind), factory_(kind.make()) {
    static int count = 0;
    task_ = "0_" + std::to_string(++count);
    open();
  }

  Engine& engine() { return *engine_; }
  [[nodiscard]] const EngineKind& kind() const { return kind_; }
  [[nodiscard]] bool persistent() const { return factory_->persistent(); }

  void open() {
    engine_ = must(factory_->open({directory_.path(), {"accounts", "orders"}, "test", task_}));
  }
  void reopen() {
    BOOST_REQUIRE(engine_->close().ok());
    open();
  }

 private:
  const EngineKind kind_;
  TemporaryDirectory directory_;
  std::string task_;
  std::shared_ptr<EngineFactory> factory_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace millrace::testing
