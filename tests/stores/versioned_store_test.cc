// SPDX-License-Identifier: Apache-2.0
#include "millrace/versioned_store.h"

#include <map>
#include <random>
#include <set>

#include <boost/test/unit_test.hpp>

#include "tests/stores/kind_fixture.h"
#include "tests/support/kept_engine.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;
using namespace millrace::testing;

using Store = VersionedStore<std::string, std::string>;
using Answer = std::optional<std::pair<std::string, std::int64_t>>;

Answer answer(const std::optional<VersionedValue<std::string>>& found) {
  if (!found) return std::nullopt;
  return std::pair{found->value, to_millis(found->timestamp)};
}

KeyLayout layout(std::int64_t retention) {
  return KeyLayout::versioned(std::chrono::milliseconds{retention});
}
const ValueOps& ops() { return value_ops<detail::Version<std::string>>(); }

// Keeps every version for ever.
struct Model {
  std::int64_t retention;
  std::int64_t observed = KeyLayout::kNoTime;
  std::map<std::string, std::map<std::int64_t, std::optional<std::string>>> versions;

  bool put(const std::string& key, std::optional<std::string> value, std::int64_t time) {
    observed = std::max(observed, time);
    if (time < observed - retention) return false;
    versions[key][time] = std::move(value);
    return true;
  }
  Answer as_of(const std::string& key, std::int64_t time) const {
    const auto found = versions.find(key);
    if (found == versions.end()) return std::nullopt;
    const auto& of_key = found->second;
    auto at = of_key.upper_bound(time);
    if (at == of_key.begin()) return std::nullopt;
    --at;
    // Before the history: the latest version only.
    if (observed != KeyLayout::kNoTime && time < observed - retention &&
        std::next(at) != of_key.end())
      return std::nullopt;
    if (!at->second) return std::nullopt;
    return std::pair{*at->second, at->first};
  }
};

BOOST_AUTO_TEST_SUITE(versioned_store)

BOOST_AUTO_TEST_CASE(a_value_holds_from_its_time_to_the_next_version) {
  for (const auto& kind : kKindEngines) {
    BOOST_TEST_CONTEXT("engine " << kind.name) {
      KindFixture f{kind, layout(1000), ops()};
      Store store{f.cache()};
      BOOST_TEST(!store.get("k").has_value());
      BOOST_TEST(store.put("k", "b", from_millis(200)));
      BOOST_TEST(store.put("k", "a", from_millis(100)));  // Out of order.
      BOOST_TEST(store.put("k", std::nullopt, from_millis(300)));
      BOOST_TEST(store.put("k", "c", from_millis(400)));
      f.reopen();
      store = Store{f.cache()};
      BOOST_TEST((answer(store.get("k")) == Answer{{"c", 400}}));
      BOOST_TEST(!store.get_as_of("k", from_millis(99)).has_value());
      BOOST_TEST((answer(store.get_as_of("k", from_millis(100))) == Answer{{"a", 100}}));
      BOOST_TEST((answer(store.get_as_of("k", from_millis(199))) == Answer{{"a", 100}}));
      BOOST_TEST((answer(store.get_as_of("k", from_millis(200))) == Answer{{"b", 200}}));
      BOOST_TEST(!store.get_as_of("k", from_millis(300)).has_value());
      BOOST_TEST(!store.get_as_of("k", from_millis(399)).has_value());
      BOOST_TEST((answer(store.erase("k", from_millis(250))) == Answer{{"b", 200}}));
      BOOST_TEST(!store.get_as_of("k", from_millis(250)).has_value());
      BOOST_TEST((answer(store.get("k")) == Answer{{"c", 400}}));
      BOOST_CHECK_THROW(store.put("k", "x", from_millis(-1)), StatusError);
      // The history: 1000 ms back from the latest time, inclusive.
      BOOST_TEST(store.put("other", "o", from_millis(1300)));
      BOOST_TEST(store.put("k", "edge", from_millis(300)));
      BOOST_TEST(!store.put("k", "late", from_millis(299)));
      BOOST_TEST(!store.erase("k", from_millis(299)).has_value());
      BOOST_TEST(!store.get_as_of("k", from_millis(299)).has_value());
      BOOST_TEST((answer(store.get_as_of("k", from_millis(300))) == Answer{{"edge", 300}}));
      BOOST_TEST(f.cache().figures().expired == 2U);
      // The latest version never expires, and answers for all times from its own on.
      BOOST_TEST(store.put("other", "o", from_millis(1'000'000)));
      BOOST_TEST((answer(store.get("k")) == Answer{{"c", 400}}));
      BOOST_TEST((answer(store.get_as_of("k", from_millis(500))) == Answer{{"c", 400}}));
      BOOST_TEST(!store.get_as_of("k", from_millis(399)).has_value());
    }
  }
}

BOOST_AUTO_TEST_CASE(versions_out_of_reach_leave_the_engine_at_the_next_put_and_are_not_logged) {
  for (const auto& kind : kKindEngines) {
    BOOST_TEST_CONTEXT("engine " << kind.name) {
      KindFixture f{kind, layout(100), ops()};
      Store store{f.cache()};
      for (int time = 0; time <= 1000; time += 10) {
        store.put("k", std::to_string(time), from_millis(time));
        f.commit();
      }
      f.checkpoint();
      // As of 900 .. 1000, and the time.
      BOOST_TEST(must(scanned(f.engine(), 0)).size() == 12U);
      store.put("k", "last", from_millis(5000));
      std::size_t logged = 0;
      for (const Change& change : f.cache().prepare()) logged += change.logged ? 1 : 0;
      f.cache().committed();
      f.checkpoint();
      BOOST_TEST(logged == 1U);
      BOOST_TEST(must(scanned(f.engine(), 0)).size() == 3U);
      BOOST_TEST((answer(store.get_as_of("k", from_millis(4900))) == Answer{{"1000", 1000}}));
    }
  }
}

// What no time in the history is answered by goes without a further put; the version in effect
// where the history begins stays, and the latest of each key.
BOOST_AUTO_TEST_CASE(a_key_that_is_never_put_again_keeps_what_can_be_asked_for_only) {
  for (const auto& kind : kKindEngines) {
    BOOST_TEST_CONTEXT("engine " << kind.name) {
      constexpr int kKeys = 50;
      KindFixture f{kind, layout(100), ops()};
      Store store{f.cache()};
      const auto key = [](int i) {
        return std::string(static_cast<std::size_t>(i % 3), '\0') + std::to_string(i);
      };
      for (int time = 0; time <= 90; time += 10) {
        for (int i = 0; i < kKeys; ++i) store.put(key(i), std::to_string(time), from_millis(time));
      }
      store.put("clock", "c", from_millis(150));
      for (int round = 0; round < 2; ++round) {
        f.commit();
        f.checkpoint();
        f.cache().trim();
        const std::size_t before = f.cache().dirty().size();
        for (int steps = 0; steps < 200; ++steps) {
          const std::size_t dirty = f.cache().dirty().size();
          f.cache().sweep(8);
          BOOST_REQUIRE(f.cache().dirty().size() - dirty <= 8U);  // Bounded work.
        }
        BOOST_TEST(f.cache().dirty().size() - before == (round == 0 ? 5U * kKeys : 0U));
      }
      for (const Change& change : f.cache().prepare()) BOOST_TEST(!change.logged);
      f.cache().committed();
      f.checkpoint();
      // As of 50 .. 90 each, the clock's, and the time.
      BOOST_TEST(must(scanned(f.engine(), 0)).size() == 5U * kKeys + 2);
      for (int i = 0; i < kKeys; ++i) {
        BOOST_REQUIRE((answer(store.get_as_of(key(i), from_millis(55))) == Answer{{"50", 50}}));
        BOOST_REQUIRE((answer(store.get(key(i))) == Answer{{"90", 90}}));
        BOOST_REQUIRE(!store.get_as_of(key(i), from_millis(49)).has_value());
      }
      store.put("clock", "c", from_millis(100'000));
      for (int steps = 0; steps < 200; ++steps) f.cache().sweep(8);
      f.commit();
      f.checkpoint();
      BOOST_TEST(must(scanned(f.engine(), 0)).size() ==
                 kKeys + 3U);  // Of the clock 150 and 100,000.
      BOOST_REQUIRE((answer(store.get(key(7))) == Answer{{"90", 90}}));
    }
  }
}

// A read seeks: what other keys there are, and how many versions follow, makes no difference.
BOOST_AUTO_TEST_CASE(a_read_looks_at_one_version_whatever_stands_around_it) {
  KeptEngineFactory factory;
  const auto engine = must(factory.open({{}, {"store"}}));
  CacheBudget budget{0};
  StateCache cache{*engine, 0, ops(), budget, layout(1'000'000)};
  Store store{cache};
  for (int i = 0; i < 300; ++i) {
    store.put("", "empty", from_millis(i));
    store.put("k" + std::string(static_cast<std::size_t>(i), '\0'), "other", from_millis(i));
  }
  store.put("", "last", from_millis(1000));
  static_cast<void>(cache.prepare());
  cache.committed();
  const auto changes = cache.uncheckpointed();
  const StoreCheckpoint part{0, changes, at(1)};
  BOOST_REQUIRE(engine->apply({{&part, 1}, {}}).ok());
  cache.checkpointed();
  cache.trim();
  factory.probe->scanned = 0;
  BOOST_TEST((answer(store.get("")) == Answer{{"last", 1000}}));
  BOOST_TEST((answer(store.get_as_of("", from_millis(150))) == Answer{{"empty", 150}}));
  BOOST_TEST(!store.get("unknown").has_value());
  BOOST_TEST(factory.probe->scanned == 0U);
}

BOOST_AUTO_TEST_CASE(random_calls_agree_with_all_versions_ever_put) {
  for_seeds("versioned_store/random_calls_agree", 20, [](std::uint64_t seed) {
    for (const auto& kind : kKindEngines) {
      BOOST_TEST_CONTEXT("engine " << kind.name) {
        std::mt19937_64 random{seed};
        const std::int64_t retention = random() % 4 == 0 ? 0 : 300;
        KindFixture f{kind, layout(retention), ops()};
        Model model{retention, KeyLayout::kNoTime, {}};
        std::int64_t now = 1000;
        for (int i = 0; i < 400; ++i) {
          Store store{f.cache()};
          const std::string key = interleaving_key(random);
          now += static_cast<std::int64_t>(random() % 40) - 10;
          const std::int64_t time =
              std::max<std::int64_t>(0, now - static_cast<std::int64_t>(random() % 600));
          const bool skipped = random() % 10 == 0;
          switch (random() % 4) {
            case 0:
              BOOST_REQUIRE(
                  (answer(store.get_as_of(key, from_millis(time))) == model.as_of(key, time)));
              break;
            case 1:
              BOOST_REQUIRE((answer(store.get(key)) ==
                             model.as_of(key, std::numeric_limits<std::int64_t>::max())));
              break;
            case 2:
              if (skipped) f.cache().begin_record();
              if (skipped) store.put(key, "skipped", from_millis(now + 500));
              if (skipped) f.cache().undo_record();
              break;
            default: {
              const std::int64_t at = random() % 3 == 0 ? time : std::max<std::int64_t>(0, now);
              std::optional<std::string> value;
              if (random() % 5 != 0)
                value = "value " + std::to_string(i) + std::string(random() % 30, '.');
              BOOST_REQUIRE(store.put(key, value, from_millis(at)) == model.put(key, value, at));
            }
          }
          f.step(random);
        }
      }
    }
  });
}

// Healing: what a stranger wrote at some time is withdrawn, by the value in effect then; what
// compaction keeps of the key is its newest version.
BOOST_AUTO_TEST_CASE(a_foreign_version_is_withdrawn_with_the_value_in_effect) {
  for (const auto& kind : kKindEngines) {
    BOOST_TEST_CONTEXT("engine " << kind.name) {
      KindFixture f{kind, layout(1000), ops()};
      Store store{f.cache()};
      store.put("k", "a", from_millis(100));
      store.put("k", std::nullopt, from_millis(200));
      f.reopen();
      store = Store{f.cache()};
      std::map<std::int64_t, std::optional<std::string>> logged;
      std::set<std::int64_t> withdrawn;
      std::int64_t last = 0;
      std::string engine_key;
      for (const std::int64_t foreign : {50, 100, 150, 250}) {
        f.cache().layout().compose("k", foreign, 0, engine_key);
        f.cache().log_again(engine_key, {});
      }
      for (const Change& change : f.cache().prepare()) {
        BOOST_TEST((f.cache().layout().log_key(change.key) == "k"));
        last = to_millis(change.timestamp);
        logged[last] = change.changelog_value(f.cache().layout());
        if (change.withdrawn) withdrawn.insert(last);
      }
      BOOST_TEST(
          (logged == std::map<std::int64_t, std::optional<std::string>>{{50, std::nullopt},
                                                                        {100, "a"},
                                                                        {150, "a"},
                                                                        {200, std::nullopt},
                                                                        {250, std::nullopt}}));
      BOOST_TEST((withdrawn == std::set<std::int64_t>{50, 150, 250}));
      BOOST_TEST(last == 200);
      BOOST_TEST((store.get_as_of("k", from_millis(175))->value == "a"));
      BOOST_TEST(!store.get("k").has_value());
      BOOST_TEST(f.cache().observed_time() == 200);  // A tail never advances time.
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
