// SPDX-License-Identifier: Apache-2.0
#include "millrace/session_store.h"

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

using Store = SessionStore<std::string, std::string>;
using Entry = std::tuple<std::string, std::int64_t, std::int64_t, std::string>;  // Key, end, start.

std::vector<Entry> entries_of(const SessionRange<std::string, std::string>& range) {
  std::vector<Entry> entries;
  for (const auto& entry : range) {
    entries.emplace_back(entry.key, to_millis(entry.window.end), to_millis(entry.window.start),
                         entry.value);
  }
  return entries;
}

SessionWindow window(std::int64_t start, std::int64_t end) {
  return {from_millis(start), from_millis(end)};
}

struct Model {
  std::int64_t retention;
  std::int64_t observed = KeyLayout::kNoTime;
  // By key, end and the bytes of the start: a negative start comes after the others of its end.
  std::map<std::tuple<std::string, std::int64_t, std::uint64_t>, std::string> sessions;

  bool live(std::int64_t end) const {
    if (end == KeyLayout::kNoTime) return false;  // Not a time.
    return observed < KeyLayout::kNoTime + retention || end > observed - retention;
  }
  bool put(const std::string& key, std::int64_t start, std::int64_t end, const std::string& value) {
    observed = std::max(observed, end);
    if (live(end)) sessions[{key, end, static_cast<std::uint64_t>(start)}] = value;
    return live(end);
  }
  std::vector<Entry> find(const std::optional<std::string>& key, std::int64_t earliest_end,
                          std::int64_t latest_start) const {
    std::vector<Entry> found;
    for (const auto& [place, value] : sessions) {
      const auto& [its_key, end, start_bytes] = place;
      const auto start = static_cast<std::int64_t>(start_bytes);
      if ((key && its_key != *key) || end < earliest_end || start > latest_start || !live(end))
        continue;
      found.emplace_back(its_key, end, start, value);
    }
    return found;
  }
};

BOOST_AUTO_TEST_SUITE(session_store)

// KF-4
BOOST_AUTO_TEST_CASE(adjacent_sessions_are_found_and_merged) {
  for (const auto& kind : kKindEngines) {
    BOOST_TEST_CONTEXT("engine " << kind.name) {
      KindFixture f{kind, KeyLayout::session(std::chrono::milliseconds{10'000}),
                    value_ops<std::string>()};
      Store store{f.cache(), [] { return from_millis(3); }};
      store.put("k", window(0, 10), "a");
      store.put("k", window(30, 30), "b");
      store.put("k", window(50, 60), "c");
      store.put("kk", window(20, 20), "other");
      f.reopen();
      store = Store{f.cache(), [] { return from_millis(3); }};
      // A record at 20, gap 10: it joins the first two.
      std::string merged;
      std::vector<SessionWindow> gone;
      for (const auto& session : store.find_sessions("k", from_millis(10), from_millis(30))) {
        merged += session.value;
        gone.push_back(session.window);
      }
      for (const auto& session : gone) BOOST_TEST(store.remove("k", session).has_value());
      store.put("k", window(0, 30), merged);
      BOOST_TEST((entries_of(store.fetch("k")) ==
                  std::vector<Entry>{{"k", 30, 0, "ab"}, {"k", 60, 50, "c"}}));
      BOOST_TEST(!store.remove("k", window(0, 10)).has_value());
      BOOST_TEST((*store.get("k", window(0, 30)) == "ab"));
      BOOST_TEST(entries_of(store.find_sessions("k", from_millis(31), from_millis(49))).empty());
      BOOST_TEST(entries_of(store.all()).size() == 3U);
      BOOST_CHECK_THROW(store.put("k", window(2, 1), "x"), StatusError);
    }
  }
}

// KF-4, KF-31, KF-2
BOOST_AUTO_TEST_CASE(random_calls_agree_with_a_map) {
  for_seeds("session_store/random_calls_agree_with_a_map", 20, [](std::uint64_t seed) {
    for (const auto& kind : kKindEngines) {
      BOOST_TEST_CONTEXT("engine " << kind.name) {
        std::mt19937_64 random{seed};
        const std::int64_t retention = random() % 2 == 0 ? 100 : 400'000;
        KindFixture f{kind, KeyLayout::session(std::chrono::milliseconds{retention}),
                      value_ops<std::string>()};
        Model model{retention, KeyLayout::kNoTime, {}};
        TimeWalk walk{random, retention / 3};
        for (int i = 0; i < 400; ++i) {
          Store store{f.cache(), [] { return from_millis(1); }};
          const std::string key = interleaving_key(random);
          const std::int64_t a = walk.near();
          const std::int64_t b = walk.near();
          switch (random() % 5) {
            case 0:
              BOOST_REQUIRE((entries_of(store.find_sessions(key, from_millis(a), from_millis(b))) ==
                             model.find(key, a, b)));
              break;
            case 1: {
              const auto all = entries_of(store.fetch(key));
              BOOST_REQUIRE((all == model.find(key, KeyLayout::kNoTime,
                                               std::numeric_limits<std::int64_t>::max())));
              if (all.empty()) break;
              const auto& [_, end, start, value] = all[random() % all.size()];
              BOOST_REQUIRE((*store.remove(key, window(start, end)) == value));
              model.sessions.erase({key, end, static_cast<std::uint64_t>(start)});
              break;
            }
            default: {
              const std::int64_t end = random() % 4 == 0 ? a : walk.next();
              const std::int64_t start = std::min(end, b);
              const std::string value =
                  "value " + std::to_string(i) + std::string(random() % 30, '.');
              BOOST_REQUIRE(store.put(key, window(start, end), value) ==
                            model.put(key, start, end, value));
            }
          }
          f.step(random);
        }
        Store store{f.cache(), [] { return from_millis(1); }};
        auto found = entries_of(store.all());
        auto expected =
            model.find(std::nullopt, KeyLayout::kNoTime, std::numeric_limits<std::int64_t>::max());
        std::sort(found.begin(), found.end());
        std::sort(expected.begin(), expected.end());
        BOOST_TEST((found == expected));
      }
    }
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
