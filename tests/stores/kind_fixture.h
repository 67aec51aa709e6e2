// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "millrace/engine.h"
#include "millrace/state_cache.h"
#include "tests/stores/engine_kinds.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {

/// The engines that stores of all kinds are tried with.
using KindEngine = EngineKind;
inline const std::vector<KindEngine> kKindEngines = engine_kinds();

/// A cache of one layout over an engine, with the steps a task makes.
class KindFixture {
 public:
  KindFixture(const KindEngine& kind, const KeyLayout& layout, const ValueOps& ops)
      : layout_(layout), ops_(ops), factory_(kind.make()) {
    open();
  }

  StateCache& cache() { return *cache_; }
  Engine& engine() { return *engine_; }

  void commit() {
    static_cast<void>(cache_->prepare());
    cache_->committed();
  }
  void checkpoint() {
    const auto changes = cache_->uncheckpointed();
    const StoreCheckpoint part{0, changes, at(++position_), cache_->erase_below()};
    BOOST_REQUIRE(engine_->apply({{&part, 1}, {}}).ok());
    cache_->checkpointed();
  }
  /// Commits, checkpoints and starts again over what the engine holds; memory engines stay open.
  void reopen() {
    commit();
    checkpoint();
    cache_.reset();
    if (factory_->persistent()) {
      BOOST_REQUIRE(engine_->close().ok());
      engine_.reset();
      engine_ = must(factory_->open({directory_.path(), {"store"}, "kinds", task_}));
    }
    cache_.emplace(*engine_, 0, ops_, budget_, layout_);
  }
  /// Some step between two records, which must change nothing that a reader sees.
  void step(std::mt19937_64& random) {
    switch (random() % 12) {
      case 0:
      case 1:
        return commit();
      case 2:
        commit();
        return checkpoint();
      case 3:
        return cache_->trim();
      case 4:
        if (random() % 8 == 0) reopen();
        return;
      case 5:
        return cache_->sweep(1 + random() % 6);
      default:
        return;
    }
  }

 private:
  void open() {
    static int count = 0;
    task_ = "0_" + std::to_string(++count);
    engine_ = must(factory_->open({directory_.path(), {"store"}, "kinds", task_}));
    cache_.emplace(*engine_, 0, ops_, budget_, layout_);
  }

  TemporaryDirectory directory_;
  std::string task_;
  const KeyLayout layout_;
  const ValueOps& ops_;
  std::shared_ptr<EngineFactory> factory_;
  CacheBudget budget_{2000};  // Entries leave as soon as they may.
  std::unique_ptr<Engine> engine_;
  std::optional<StateCache> cache_;
  std::int64_t position_ = 0;
};

/// Keys of which some begin others, with bytes that their times have too.
inline std::string interleaving_key(std::mt19937_64& random) {
  using namespace std::string_literals;
  static const std::array kKeys{""s,
                                "a"s,
                                "a\0"s,
                                "a\0\0\0\0\0\0\0\0"s,
                                "a\0\0\0\0\0\0\0\0\0\0\0\0"s,
                                "a\xff"s,
                                "a\xff\xff\xff\xff\xff\xff\xff\xff"s,
                                "b"s,
                                "\xff"s};
  return kKeys[random() % kKeys.size()];
}

/// A walk through time, forth and back, now and then far ahead; begins anywhere.
class TimeWalk {
 public:
  TimeWalk(std::mt19937_64& random, std::int64_t pace) : random_(random), pace_(pace) {
    static constexpr std::array kStarts{std::numeric_limits<std::int64_t>::min() + 5,
                                        -1'000'000'000'000L,
                                        -200'000L,
                                        0L,
                                        1'700'000'000'000L,
                                        std::numeric_limits<std::int64_t>::max() - 1'000'000L};
    now_ = kStarts[random_() % kStarts.size()];
  }
  std::int64_t next() {
    if (random_() % 400 == 0) now_ = now_ / 2 + std::numeric_limits<std::int64_t>::max() / 2;
    now_ = plus(now_, static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(2 * pace_)) -
                          pace_ * 3 / 4);
    return now_;
  }
  /// A time near the last one.
  std::int64_t near() {
    return plus(now_, static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(8 * pace_)) -
                          6 * pace_);
  }

 private:
  static std::int64_t plus(std::int64_t time, std::int64_t step) {
    std::int64_t sum = 0;
    if (!__builtin_add_overflow(time, step, &sum)) return sum;
    return step < 0 ? std::numeric_limits<std::int64_t>::min() + 1
                    : std::numeric_limits<std::int64_t>::max();
  }
  std::mt19937_64& random_;
  const std::int64_t pace_;
  std::int64_t now_;
};

}  // namespace millrace::testing
