// SPDX-License-Identifier: Apache-2.0
#include "millrace/state_cache.h"

#include <map>
#include <random>
#include <set>

#include <boost/test/unit_test.hpp>

#include "millrace/key_value_store.h"
#include "tests/support/kept_engine.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;
using namespace millrace::testing;

using Model = std::map<std::string, std::string>;

// A cache of strings over a counting engine, with the steps a task makes.
struct Fixture {
  explicit Fixture(std::size_t budget_bytes = std::size_t{1} << 20) : budget(budget_bytes) {
    open();
  }

  void open() {
    store.reset();
    cache.reset();
    engine = *factory.open({{}, {"store"}});
    cache.emplace(*engine, 0, value_ops<std::string>(), budget);
    store.emplace(*cache, [this] { return now; });
  }
  std::span<const Change> commit() {
    const auto changes = cache->prepare();
    cache->committed();
    return changes;
  }
  void checkpoint() {
    const auto changes = cache->uncheckpointed();
    position += 1;
    const StoreCheckpoint part{0, changes, {1, position, {}}};
    BOOST_REQUIRE(engine->apply({{&part, 1}, {}}).ok());
    cache->checkpointed();
  }
  Model shown() {
    Model all;
    std::string last;
    for (const auto& entry : store->all()) {
      BOOST_TEST((all.empty() || last < entry.key));
      last = entry.key;
      all[entry.key] = entry.value;
    }
    return all;
  }

  KeptEngineFactory factory;
  CacheBudget budget;
  std::unique_ptr<Engine> engine;
  std::optional<StateCache> cache;
  std::optional<KeyValueStore<std::string, std::string>> store;
  Timestamp now{};
  std::int64_t position = 0;
};

// Longer than what strings hold inline, so that a missing copy or destruction shows.
std::string heap(const std::string& text) {
  return text + " on the heap, beyond the inline buffer";
}

BOOST_AUTO_TEST_SUITE(state_cache)

// KF-1, KF-2
BOOST_AUTO_TEST_CASE(a_store_gets_puts_erases_and_ranges) {
  Fixture f;
  BOOST_TEST(!f.store->get("a").has_value());
  f.now = from_millis(5);
  f.store->put("a", heap("1"));
  BOOST_TEST(*f.store->get("a") == heap("1"));
  BOOST_TEST(to_millis(*f.store->timestamp("a")) == 5);
  BOOST_TEST(*f.store->put_if_absent("a", "2") == heap("1"));
  BOOST_TEST(!f.store->put_if_absent("b", "3").has_value());
  BOOST_TEST(!f.store->erase("none").has_value());
  BOOST_TEST(f.cache->dirty().size() == 2U);  // A missing key logs nothing.
  BOOST_TEST(*f.store->erase("a") == heap("1"));
  BOOST_TEST(!f.store->get("a").has_value());
  BOOST_TEST(!f.store->timestamp("a").has_value());
  f.store->put("", "empty key");
  BOOST_TEST((f.shown() == Model{{"", "empty key"}, {"b", "3"}}));
}

// KF-2
BOOST_AUTO_TEST_CASE(ranges_merge_three_levels_with_both_ends_and_in_byte_order) {
  for_seeds("ranges", 300, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Fixture f{random() % 3 == 0 ? 0 : std::size_t{4000}};
    Model model;
    const auto key = [&] {
      std::string bytes;
      for (std::size_t i = random() % 4; i > 0; --i)
        bytes += static_cast<char>(std::array{0, 1, 127, 128, 255}[random() % 5]);
      return bytes;
    };
    for (int i = 0; i < 120; ++i) {
      const auto k = key();
      switch (random() % 9) {
        case 0:
          f.store->erase(k);
          model.erase(k);
          break;
        case 1:
          static_cast<void>(f.commit());
          break;
        case 2:
          f.checkpoint();
          break;
        case 3:
          f.cache->trim();
          break;
        case 4: {
          auto from = key(), to = key();
          Model expected;
          for (const auto& [mk, mv] : model) {
            if (from <= mk && mk <= to) expected[mk] = mv;
          }
          Model got;
          for (const auto& entry : f.store->range(from, to)) got[entry.key] = entry.value;
          BOOST_CHECK(got == expected);
          break;
        }
        default:
          f.store->put(k, heap(std::to_string(i)));
          model[k] = heap(std::to_string(i));
      }
    }
    BOOST_CHECK(f.shown() == model);
    for (const auto& [k, v] : model) BOOST_TEST(f.store->get(k).value_or("") == v);
  });
}

BOOST_AUTO_TEST_CASE(a_range_is_a_cut_that_later_changes_do_not_touch) {
  Fixture f;
  f.store->put("a", "1");
  f.store->put("c", "3");
  f.commit();
  f.checkpoint();
  f.store->put("b", "2");
  Model seen;
  for (const auto& entry : f.store->all()) {
    seen[entry.key] = entry.value;
    f.store->erase("c");
    f.store->put("d", "4");
    f.store->put("b", "changed");
  }
  BOOST_TEST((seen == Model{{"a", "1"}, {"b", "2"}, {"c", "3"}}));
  BOOST_TEST((f.shown() == Model{{"a", "1"}, {"b", "changed"}, {"d", "4"}}));
}

// B5
BOOST_AUTO_TEST_CASE(what_the_engine_lacks_is_never_evicted) {
  Fixture f{0};
  f.store->put("a", "old");
  f.store->put("other", "x");
  f.commit();
  f.checkpoint();
  f.cache->trim();
  BOOST_TEST(f.cache->figures().entries == 0U);
  f.store->put("a", "new");
  f.cache->trim();  // Dirty.
  BOOST_TEST(*f.store->get("a") == "new");
  static_cast<void>(f.cache->prepare());
  f.cache->trim();  // In flight.
  BOOST_TEST(*f.store->get("a") == "new");
  f.cache->committed();
  f.cache->trim();  // Committed, clean, not in the engine.
  BOOST_TEST(*f.store->get("a") == "new");
  BOOST_TEST(f.factory.probe->gets == 1U);  // Once, before it was changed.
  f.checkpoint();
  f.cache->trim();
  BOOST_TEST(f.cache->figures().entries == 0U);
  BOOST_TEST(*f.store->get("a") == "new");
}

BOOST_AUTO_TEST_CASE(a_full_cache_asks_for_a_checkpoint_until_it_has_one) {
  constexpr int kKeys = 20'000;
  Fixture f{3000};
  BOOST_TEST(!f.cache->wants_checkpoint());
  for (int i = 0; i < 100; ++i) f.store->put(std::to_string(i), heap("x"));
  f.cache->trim();
  BOOST_TEST(f.budget.bytes_used > 3000U);
  BOOST_TEST(!f.cache->wants_checkpoint());  // Full, but of less than is worth a checkpoint.
  for (int i = 100; i < kKeys; ++i) f.store->put(std::to_string(i), heap("x"));
  f.cache->trim();
  BOOST_TEST(f.cache->wants_checkpoint());
  f.commit();
  f.cache->trim();
  BOOST_TEST(f.cache->wants_checkpoint());
  f.checkpoint();
  f.cache->trim();
  BOOST_TEST(!f.cache->wants_checkpoint());
  BOOST_TEST(f.budget.bytes_used <= 3000U);
  BOOST_TEST(f.shown().size() == static_cast<std::size_t>(kKeys));
}

BOOST_AUTO_TEST_CASE(the_budget_is_given_back_when_a_cache_ends) {
  CacheBudget budget{1 << 20};
  KeptEngineFactory factory;
  auto engine = *factory.open({{}, {"store"}});
  {
    StateCache cache{*engine, 0, value_ops<std::string>(), budget};
    KeyValueStore<std::string, std::string> store{cache, [] { return Timestamp{}; }};
    for (int i = 0; i < 10; ++i) store.put(std::to_string(i), heap("x"));
    cache.trim();
    BOOST_TEST(budget.bytes_used > 0U);
  }
  BOOST_TEST(budget.bytes_used == 0U);
  BOOST_TEST(budget.caches == 0U);
}

BOOST_AUTO_TEST_CASE(a_roll_back_gives_the_committed_values_whatever_level_holds_them) {
  Fixture f;
  for (const char* key : {"engine", "pending", "both"}) f.store->put(key, heap("1"));
  f.commit();
  f.checkpoint();
  f.store->put("pending", heap("2"));
  f.store->erase("both");
  f.commit();
  const Model committed{{"engine", heap("1")}, {"pending", heap("2")}};
  BOOST_TEST((f.shown() == committed));
  f.store->put("both", heap("in flight"));
  f.store->put("engine", heap("in flight"));
  f.store->erase("pending");
  f.store->put("new", heap("in flight"));
  static_cast<void>(f.cache->prepare());
  f.store->put("both", heap("dirty"));
  f.store->put("newer", heap("dirty"));
  f.cache->roll_back();
  BOOST_TEST((f.shown() == committed));
  BOOST_TEST(f.cache->dirty().empty());
  BOOST_TEST(f.cache->prepare().empty());
  f.cache->committed();
  f.checkpoint();
  f.open();
  BOOST_TEST((f.shown() == committed));
}

BOOST_AUTO_TEST_CASE(changes_are_in_order_of_first_change_and_once_per_key) {
  Fixture f;
  for (const char* key : {"b", "a", "c", "a", "b"}) f.store->put(key, heap(key));
  f.store->erase("c");
  std::vector<std::string> keys;
  for (const auto& change : f.cache->prepare()) {
    keys.emplace_back(change.key);
    BOOST_TEST(change.changelog_value({}).has_value() == (change.key != "c"));
    if (change.changelog_value({}))
      BOOST_TEST(*change.changelog_value({}) == heap(std::string{change.key}));
  }
  BOOST_TEST((keys == std::vector<std::string>{"b", "a", "c"}));
}

BOOST_AUTO_TEST_CASE(an_undone_record_leaves_values_times_and_the_dirty_list_as_they_were) {
  Fixture f;
  f.now = from_millis(1);
  f.store->put("clean", heap("1"));
  f.store->put("evicted", heap("1"));
  f.commit();
  f.checkpoint();
  f.store->put("dirty", heap("1"));
  f.store->put("gone", heap("1"));
  f.store->erase("gone");
  const auto before = f.shown();
  f.now = from_millis(2);
  f.cache->begin_record();
  for (const char* key : {"clean", "dirty", "gone", "new"}) {
    f.store->put(key, heap("2"));
    f.store->put(key, heap("3"));
  }
  f.store->erase("evicted");
  f.store->erase("dirty");
  f.store->put("dirty", heap("4"));
  f.cache->undo_record();
  BOOST_TEST((f.shown() == before));
  BOOST_TEST(to_millis(*f.store->timestamp("clean")) == 1);
  std::vector<std::string> dirty;
  for (const StateEntry* entry : f.cache->dirty()) dirty.emplace_back(entry->key());
  BOOST_TEST((dirty == std::vector<std::string>{"dirty", "gone"}));
  f.cache->begin_record();
  f.store->put("kept", heap("5"));
  f.cache->keep_record();
  BOOST_TEST(f.cache->dirty().size() == 3U);
  f.cache->begin_record();
  f.store->put("clean", heap("ends with the record open"));
}

// KS-9
BOOST_AUTO_TEST_CASE(a_prefetch_asks_once_for_each_missing_key) {
  Fixture f;
  for (const char* key : {"a", "b", "c"}) f.store->put(key, heap(key));
  f.commit();
  f.checkpoint();
  f.open();
  static_cast<void>(f.store->get("a"));
  const std::vector<std::string_view> keys{"b", "a", "none", "b", "c", "none", ""};
  f.cache->prefetch(keys);
  BOOST_TEST(f.factory.probe->multi_gets == 1U);
  BOOST_TEST(f.factory.probe->keys_of_multi_gets == 4U);
  f.cache->prefetch(keys);
  BOOST_TEST(f.factory.probe->multi_gets == 1U);
  for (const char* key : {"a", "b", "c"}) BOOST_TEST(*f.store->get(key) == heap(key));
  BOOST_TEST(!f.store->get("none").has_value());
  BOOST_TEST(f.factory.probe->gets == 1U);
}

BOOST_AUTO_TEST_CASE(an_engine_failure_is_thrown_with_its_status) {
  Fixture f;
  f.store->put("a", "1");
  f.commit();
  f.checkpoint();
  f.open();
  f.factory.probe->fail_reads = Status::unavailable("disk gone");
  try {
    static_cast<void>(f.store->get("a"));
    BOOST_ERROR("no failure");
  } catch (const StoreFailure& failure) {
    BOOST_CHECK(failure.status().code() == Code::kUnavailable);
  }
  f.factory.probe->fail_reads.reset();
  BOOST_TEST(*f.store->get("a") == "1");
}

// A value of another type, or no value at all: an error, in a lookup and in a scan.
BOOST_AUTO_TEST_CASE(an_engine_value_that_cannot_be_decoded_is_a_failure) {
  for (const std::string& stored : {std::string{"short"}, std::string(8, '\0') + "no number"}) {
    KeptEngineFactory factory;
    auto engine = *factory.open({{}, {"store"}});
    const EngineChange change{"a", stored};
    const StoreCheckpoint part{0, {&change, 1}, {1, 1, {}}};
    BOOST_REQUIRE(engine->apply({{&part, 1}, {}}).ok());
    CacheBudget budget{1000};
    StateCache cache{*engine, 0, value_ops<std::int64_t>(), budget};
    BOOST_CHECK_THROW(static_cast<void>(cache.scan({}, {})), StoreFailure);
    BOOST_CHECK_THROW(cache.load("a"), StoreFailure);
  }
  KeptEngineFactory factory;
  auto engine = *factory.open({{}, {"store"}});
  const EngineChange change{"a", "short"};
  const StoreCheckpoint part{0, {&change, 1}, {1, 1, {}}};
  BOOST_REQUIRE(engine->apply({{&part, 1}, {}}).ok());
  CacheBudget budget{1000};
  StateCache cache{*engine, 0, value_ops<std::string>(), budget};
  BOOST_CHECK_THROW(static_cast<void>(cache.scan({}, {})), StoreFailure);
}

BOOST_AUTO_TEST_CASE(log_again_writes_the_present_value_or_a_tombstone) {
  Fixture f;
  f.now = from_millis(3);
  f.store->put("a", heap("1"));
  f.commit();
  f.checkpoint();
  f.open();
  f.cache->log_again("a", from_millis(9));
  f.cache->log_again("none", from_millis(9));
  const auto changes = f.cache->prepare();
  BOOST_REQUIRE(changes.size() == 2U);
  BOOST_TEST(*changes[0].changelog_value({}) == heap("1"));
  BOOST_TEST(to_millis(changes[0].timestamp) == 3);
  BOOST_TEST(changes[1].deleted);
  BOOST_TEST(to_millis(changes[1].timestamp) == 9);
}

// Random steps of a task against two maps: what is committed and what is live.
BOOST_AUTO_TEST_CASE(the_cache_equals_a_map_whatever_is_committed_undone_and_rolled_back) {
  for_seeds("state cache", 1500, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Fixture f{std::array<std::size_t, 3>{0, 700, 1 << 20}[random() % 3]};
    Model live, in_flight, committed, in_engine;
    bool flying = false;
    for (int i = 0; i < 150; ++i) {
      const auto key = std::to_string(random() % 12);
      switch (random() % 16) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
          f.store->put(key, heap(std::to_string(i)));
          live[key] = heap(std::to_string(i));
          break;
        case 5:
          BOOST_TEST(f.store->erase(key).has_value() == (live.erase(key) > 0));
          break;
        case 6:
          if (flying) break;
          static_cast<void>(f.cache->prepare());
          in_flight = live;
          flying = true;
          break;
        case 7:
          if (!flying) break;
          f.cache->committed();
          committed = in_flight;
          flying = false;
          break;
        case 8:
          f.checkpoint();
          in_engine = committed;
          break;
        case 9:
          f.cache->roll_back();
          live = committed;
          flying = false;
          break;
        case 10:
          f.cache->trim();
          break;
        case 11: {
          f.cache->begin_record();
          f.store->put(key, heap("undone"));
          f.store->erase(std::to_string(random() % 12));
          f.store->put(std::to_string(random() % 12), heap("undone"));
          f.cache->undo_record();
          break;
        }
        case 12: {
          const auto other = std::to_string(random() % 12);
          const std::vector<std::string_view> keys{key, other, key};
          f.cache->prefetch(keys);
          break;
        }
        case 13:
          f.cache->log_again(key, {});
          break;
        case 14:
          BOOST_CHECK(f.shown() == live);
          break;
        case 15:
          if (random() % 5 == 0) {  // A crash.
            f.open();
            live = committed = in_engine;
            flying = false;
          }
          break;
      }
      const auto found = live.find(key);
      BOOST_REQUIRE(f.store->get(key) ==
                    (found == live.end() ? std::nullopt : std::optional{found->second}));
    }
    BOOST_REQUIRE(f.shown() == live);
  });
}

// KF-36
BOOST_AUTO_TEST_CASE(approximate_entries_is_about_right) {
  Fixture f;
  BOOST_TEST(f.store->approximate_entries() == 0U);
  for (int i = 0; i < 10; ++i) f.store->put(std::to_string(i), "x");
  BOOST_TEST(f.store->approximate_entries() == 10U);
  f.commit();
  f.checkpoint();
  BOOST_TEST(f.store->approximate_entries() == 10U);
}

// KF-36
BOOST_AUTO_TEST_CASE(closing_an_engine_twice_is_fine) {
  auto engine = *engines::memory()->open({{}, {"store"}});
  BOOST_TEST(engine->close().ok());
  BOOST_TEST(engine->close().ok());
  BOOST_CHECK(engine->get(0, "a").error().code() == Code::kInternal);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
