// SPDX-License-Identifier: Apache-2.0
#include "millrace/window_store.h"

#include <map>
#include <random>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/stores/kind_fixture.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using std::chrono::milliseconds;

using Store = WindowStore<std::string, std::string>;
using Entry = std::tuple<std::string, std::int64_t, std::string>;  // Key, start, value.

std::vector<Entry> entries_of(const WindowRange<std::string, std::string>& range) {
  std::vector<Entry> entries;
  for (const auto& entry : range)
    entries.emplace_back(entry.key, to_millis(entry.window_start), entry.value);
  return entries;
}

KeyLayout layout(std::int64_t retention, bool duplicates = false) {
  return KeyLayout::window(milliseconds{10}, milliseconds{retention}, duplicates);
}

// What a window store is, without segments, caches and engines.
struct Model {
  std::int64_t retention;
  std::int64_t observed = KeyLayout::kNoTime;
  std::map<std::tuple<std::string, std::int64_t, std::int64_t>, std::string> windows;

  bool live(std::int64_t start) const {
    if (start == KeyLayout::kNoTime) return false;  // Not a time.
    return observed < KeyLayout::kNoTime + retention || start > observed - retention;
  }
  bool put(const std::string& key, std::int64_t start, std::int64_t number,
           const std::string& value) {
    observed = std::max(observed, start);
    if (live(start)) windows[{key, start, number}] = value;
    return live(start);
  }
  std::vector<Entry> fetch(const std::optional<std::string>& key, std::int64_t from,
                           std::int64_t to) const {
    std::vector<Entry> found;
    for (const auto& [place, value] : windows) {
      const auto& [its_key, start, number] = place;
      if ((key && its_key != *key) || start < from || start > to || !live(start)) continue;
      found.emplace_back(its_key, start, value);
    }
    return found;
  }
};

template <class Claim>
void for_each_engine(const Claim& claim) {
  for (const auto& kind : kKindEngines) {
    BOOST_TEST_CONTEXT("engine " << kind.name) { claim(kind); }
  }
}

BOOST_AUTO_TEST_SUITE(window_store)

// KF-3
BOOST_AUTO_TEST_CASE(bounds_of_fetches_are_inclusive) {
  for_each_engine([](const KindEngine& kind) {
    KindFixture f{kind, layout(1'000'000), value_ops<std::string>()};
    Store store{f.cache(), [] { return from_millis(7); }};
    for (const std::int64_t start : {-20, -10, 0, 10, 20}) {
      BOOST_TEST(store.put("a", std::to_string(start), from_millis(start)));
      BOOST_TEST(store.put("b", "b", from_millis(start)));
      if (start == 0) f.reopen();
      store = Store{f.cache(), [] { return from_millis(7); }};
    }
    BOOST_TEST((entries_of(store.fetch("a", from_millis(-10), from_millis(10))) ==
                std::vector<Entry>{{"a", -10, "-10"}, {"a", 0, "0"}, {"a", 10, "10"}}));
    BOOST_TEST(entries_of(store.fetch("a", from_millis(-9), from_millis(-1))).empty());
    BOOST_TEST(entries_of(store.fetch("a", from_millis(10), from_millis(-10))).empty());
    BOOST_TEST(
        (entries_of(store.fetch_all(from_millis(10), from_millis(20))) ==
         std::vector<Entry>{{"a", 10, "10"}, {"a", 20, "20"}, {"b", 10, "b"}, {"b", 20, "b"}}));
    BOOST_TEST(entries_of(store.all()).size() == 10U);
    BOOST_TEST((*store.get("a", from_millis(-20)) == "-20"));
    BOOST_TEST((*store.erase("a", from_millis(-20)) == "-20"));
    BOOST_TEST(!store.erase("a", from_millis(-20)).has_value());
    BOOST_TEST(!store.get("a", from_millis(-20)).has_value());
    BOOST_TEST(!store.get("a", from_millis(5)).has_value());
    for (const auto& entry : store.fetch("a", from_millis(0), from_millis(0)))
      BOOST_TEST(to_millis(entry.timestamp) == 7);
  });
}

// KF-2, KF-3: whatever was put, committed, checkpointed and evicted in between, reads answer as a
// map does, for keys that interleave and for negative and far-future times.
BOOST_AUTO_TEST_CASE(random_calls_agree_with_a_map) {
  for_seeds("window_store/random_calls_agree_with_a_map", 20, [](std::uint64_t seed) {
    for_each_engine([seed](const KindEngine& kind) {
      std::mt19937_64 random{seed};
      const std::int64_t retention = random() % 2 == 0 ? 100 : 400'000;
      const bool duplicates = random() % 3 == 0;
      KindFixture f{kind, layout(retention, duplicates), value_ops<std::string>()};
      Model model{retention, KeyLayout::kNoTime, {}};
      TimeWalk walk{random, retention / 3};
      const bool far = random() % 2 == 0;
      for (int i = 0; i < 400; ++i) {
        Store store{f.cache(), [] { return from_millis(1); }, [i] { return i; }};
        const std::string key =
            far ? interleaving_key(random) : std::string(1, static_cast<char>('a' + random() % 5));
        const std::int64_t a = walk.near();
        const std::int64_t b = walk.near();
        switch (random() % 6) {
          case 0: {
            const auto expected = model.fetch(key, std::min(a, b), std::max(a, b));
            BOOST_REQUIRE((entries_of(store.fetch(key, from_millis(std::min(a, b)),
                                                  from_millis(std::max(a, b)))) == expected));
            break;
          }
          case 1: {
            auto expected = model.fetch(std::nullopt, a, b);
            auto found = entries_of(store.fetch_all(from_millis(a), from_millis(b)));
            if (far)
              std::sort(found.begin(), found.end());  // Interleaving keys have no full order.
            if (far) std::sort(expected.begin(), expected.end());
            BOOST_REQUIRE((found == expected));
            break;
          }
          case 2: {
            const auto one = model.fetch(key, a, a);
            const auto found = store.get(key, from_millis(a));
            BOOST_REQUIRE(found.has_value() == !one.empty());
            if (found) BOOST_REQUIRE((*found == std::get<2>(one.front())));
            if (duplicates) break;
            BOOST_REQUIRE((store.erase(key, from_millis(a)) == found));
            model.windows.erase({key, a, 0});
            break;
          }
          default: {
            const std::int64_t start = random() % 4 == 0 ? a : walk.next();
            const std::string value =
                "value " + std::to_string(i) + std::string(random() % 30, '.');
            BOOST_REQUIRE(store.put(key, value, from_millis(start)) ==
                          model.put(key, start, duplicates ? i : 0, value));
          }
        }
        f.step(random);
      }
      Store store{f.cache(), [] { return from_millis(1); }};
      auto found = entries_of(store.all());
      auto expected =
          model.fetch(std::nullopt, KeyLayout::kNoTime, std::numeric_limits<std::int64_t>::max());
      std::sort(found.begin(), found.end());
      std::sort(expected.begin(), expected.end());
      BOOST_TEST((found == expected));
    });
  });
}

// KF-31: what has expired is not shown, and whole segments go from the engine and from the cache.
BOOST_AUTO_TEST_CASE(expired_segments_leave_the_engine_and_the_cache) {
  for_each_engine([](const KindEngine& kind) {
    constexpr std::int64_t kRetention = 240'000;  // Segments of 120,000.
    KindFixture f{kind, layout(kRetention), value_ops<std::string>()};
    const auto in_engine = [&f] { return must(scanned(f.engine(), 0)).size(); };
    {
      Store store{f.cache(), [] { return from_millis(1); }};
      for (std::int64_t start = -240'000; start < 240'000; start += 1000)
        store.put("k", "v", from_millis(start));
      BOOST_TEST(entries_of(store.all()).size() == 240U);
    }
    f.commit();
    f.checkpoint();
    // 240 live ones, and 1 for the time. Expired ones were left out.
    BOOST_TEST(in_engine() == 241U);
    Store store{f.cache(), [] { return from_millis(1); }};
    store.put("k", "v", from_millis(359'000));
    BOOST_TEST(entries_of(store.all()).size() == 121U);
    BOOST_TEST(!store.get("k", from_millis(119'000)).has_value());
    BOOST_TEST(!store.put("k", "late", from_millis(119'000)));
    BOOST_TEST(store.put("k", "early enough", from_millis(119'001)));
    BOOST_TEST(f.cache().figures().expired == 1U);
    f.commit();
    f.checkpoint();
    BOOST_TEST(in_engine() > 200U);  // Part of its segment is still live.
    store.put("k", "v", from_millis(360'000));
    f.commit();
    BOOST_TEST(in_engine() > 200U);  // Engines hold committed data until the checkpoint.
    f.checkpoint();
    BOOST_TEST(in_engine() < 130U);
    f.cache().trim();
    BOOST_TEST(f.cache().figures().entries <= 123U);
    f.reopen();  // What was observed is known after a restart.
    Store again{f.cache(), [] { return from_millis(1); }};
    BOOST_TEST(!again.put("k", "late", from_millis(120'000)));
    BOOST_TEST(entries_of(again.all()).size() == 121U);
  });
}

// A skipped record and a rolled back commit take the time they observed with them.
BOOST_AUTO_TEST_CASE(observed_time_is_undone_and_rolled_back) {
  for_each_engine([](const KindEngine& kind) {
    KindFixture f{kind, layout(100), value_ops<std::string>()};
    Store store{f.cache(), [] { return from_millis(1); }};
    store.put("k", "v", from_millis(1000));
    f.reopen();
    store = Store{f.cache(), [] { return from_millis(1); }};
    f.cache().begin_record();
    store.put("k", "v", from_millis(9'000'000));
    BOOST_TEST(entries_of(store.all()).size() == 1U);
    f.cache().undo_record();
    BOOST_TEST((entries_of(store.all()) == std::vector<Entry>{{"k", 1000, "v"}}));
    store.put("k", "v", from_millis(8'000'000));
    static_cast<void>(f.cache().prepare());
    store.put("k", "v", from_millis(9'000'000));
    f.cache().roll_back();
    BOOST_TEST((entries_of(store.all()) == std::vector<Entry>{{"k", 1000, "v"}}));
    BOOST_TEST(f.cache().observed_time() == 1000);
  });
}

BOOST_AUTO_TEST_CASE(duplicates_are_kept_side_by_side_in_the_order_of_their_numbers) {
  for_each_engine([](const KindEngine& kind) {
    KindFixture f{kind, layout(1000, true), value_ops<std::string>()};
    std::int64_t number = 0x7fffffff;
    Store store{f.cache(), [] { return from_millis(1); }, [&number] { return number; }};
    store.put("k", "last number", from_millis(5));
    f.commit();
    store.put("k", "wraps", from_millis(5));  // The number is taken: the next free one.
    number = 1;
    store.put("k", "one", from_millis(5));
    store.put("k", "two", from_millis(5));
    BOOST_TEST((entries_of(store.fetch("k", from_millis(5), from_millis(5))) ==
                std::vector<Entry>{
                    {"k", 5, "wraps"}, {"k", 5, "one"}, {"k", 5, "two"}, {"k", 5, "last number"}}));
    BOOST_TEST((*store.get("k", from_millis(5)) == "wraps"));
    BOOST_TEST(!store.erase("k", from_millis(5)).has_value());
    BOOST_TEST(entries_of(store.all()).size() == 4U);
  });
}

// The bytes of reference section 2.3: key || int64 start || int32 sequence.
BOOST_AUTO_TEST_CASE(log_keys_are_those_of_kafka_streams) {
  std::string engine_key;
  KeyLayout window = layout(240'000);
  window.compose("k1", 500, 0, engine_key);
  BOOST_TEST((window.log_key(engine_key) == std::string_view{"k1\0\0\0\0\0\0\1\xf4\0\0\0\0", 14}));
  std::string restored;
  BOOST_TEST(window.engine_key(window.log_key(engine_key), from_millis(9), restored));
  BOOST_TEST((restored == engine_key));
  BOOST_TEST(!window.engine_key("eleven bytes", from_millis(0), restored) == false);
  BOOST_TEST(!window.engine_key("10 bytes..", from_millis(0), restored));
  KeyLayout session = KeyLayout::session(milliseconds{240'000});
  session.compose("k1", 1600, 1000, engine_key);
  BOOST_TEST((session.log_key(engine_key) ==
              std::string_view{"k1\0\0\0\0\0\0\6\x40\0\0\0\0\0\0\3\xe8", 18}));
  BOOST_TEST(session.time_of(engine_key) == 1600);
  BOOST_TEST(session.detail_of(engine_key) == 1000);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
