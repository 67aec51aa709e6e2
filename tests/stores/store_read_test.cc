// SPDX-License-Identifier: Apache-2.0
//
// Reads by threads of the program: both levels, page by page, of every kind of store.
#include "millrace/store_read.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <random>
#include <tuple>
#include <vector>

#include "millrace/key_value_store.h"
#include "millrace/session_store.h"
#include "millrace/versioned_store.h"
#include "millrace/window_store.h"
#include "tests/stores/kind_fixture.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using std::chrono::milliseconds;

// Key, time, detail, value.
using Entry = std::tuple<std::string, std::int64_t, std::int64_t, std::string>;
using Entries = std::vector<Entry>;

// All pages, each of at most `entries_max`.
Entries read_all(StateCache& cache, ReadRequest request, std::size_t entries_max) {
  Entries entries;
  request.entries_max = entries_max;
  do {
    ReadPage page = read_page(cache, request);
    BOOST_TEST(page.entries.size() <= entries_max);
    for (const auto& entry : page.entries) {
      entries.emplace_back(entry.key, entry.time, entry.detail, entry.value);
    }
    request.after = page.resume;
  } while (request.after);
  return entries;
}

Entries sorted(Entries entries) {
  std::sort(entries.begin(), entries.end());
  return entries;
}

// What a store shows at present, and what it showed at its last commit.
struct Levels {
  Entries latest;
  Entries committed;
  const Entries& at(ReadLevel level) const {
    return level == ReadLevel::kLatest ? latest : committed;
  }
};

constexpr std::array kLevels{ReadLevel::kLatest, ReadLevel::kCommitted};

BOOST_AUTO_TEST_SUITE(store_read)

// KF-1, KF-2, KF-8: against a map, whatever is in the cache, in flight, committed or in the engine.
BOOST_AUTO_TEST_CASE(key_value_reads_of_both_levels_are_what_a_map_says) {
  for_seeds("key_value_reads_of_both_levels_are_what_a_map_says", 2, [](std::uint64_t seed) {
    for (const auto& kind : kKindEngines) {
      std::mt19937_64 random{seed};
      KindFixture fixture{kind, KeyLayout{}, value_ops<std::string>()};
      std::map<std::string, std::string> latest;
      std::map<std::string, std::string> prepared;
      std::map<std::string, std::string> committed;
      bool in_flight = false;
      for (int step = 0; step < 4000; ++step) {
        StateCache& cache = fixture.cache();
        KeyValueStore<std::string, std::string> store{cache, [] { return Timestamp{}; }};
        const std::string key = "k" + std::to_string(random() % 60);
        switch (random() % 10) {
          case 0:
            if (in_flight) {
              cache.committed();
              committed = prepared;
            } else {
              static_cast<void>(cache.prepare());
              prepared = latest;
            }
            in_flight = !in_flight;
            break;
          case 1:
            if (!in_flight) fixture.checkpoint();
            break;
          case 2:
            fixture.cache().trim();
            break;
          case 3:
          case 4:
            store.erase(key);
            latest.erase(key);
            break;
          default:
            store.put(key, std::to_string(step));
            latest[key] = std::to_string(step);
        }
        for (const ReadLevel level : kLevels) {
          const auto& model = level == ReadLevel::kLatest ? latest : committed;
          const auto one = read_page(cache, {.level = level, .key = key});
          BOOST_REQUIRE_EQUAL(one.entries.size(), model.count(key));
          if (!one.entries.empty()) BOOST_TEST(one.entries[0].value == model.at(key));
          if (step % 20 != 0) continue;
          Entries expected;
          const std::string from = "k1";
          const std::string to = "k" + std::to_string(random() % 60);
          for (const auto& [k, v] : model) {
            if (k >= from && k <= to) expected.emplace_back(k, 0, 0, v);
          }
          const auto found =
              read_all(cache, {.level = level, .from = from, .to = to}, 1 + random() % 7);
          BOOST_TEST((found == expected), kind.name << " at step " << step);
        }
      }
    }
  });
}

// KF-3: fetch and fetch_all of both levels, among keys that begin one another, against the typed
// store.
BOOST_AUTO_TEST_CASE(window_reads_of_both_levels_are_what_the_store_says) {
  for_seeds("window_reads_of_both_levels_are_what_the_store_says", 2, [](std::uint64_t seed) {
    for (const auto& kind : kKindEngines) {
      std::mt19937_64 random{seed};
      const auto layout = KeyLayout::window(milliseconds{10}, milliseconds{300'000}, false);
      KindFixture fixture{kind, layout, value_ops<std::string>()};
      TimeWalk walk{random, 40'000};
      Entries committed;
      for (int step = 0; step < 1500; ++step) {
        StateCache& cache = fixture.cache();
        WindowStore<std::string, std::string> store{cache, [] { return Timestamp{}; }};
        const auto all = [&] {
          Entries entries;
          for (const auto& e : store.all()) {
            entries.emplace_back(e.key, to_millis(e.window_start), 0, e.value);
          }
          return sorted(entries);
        };
        const auto key = interleaving_key(random);
        store.put(key, std::to_string(step), from_millis(walk.next()));
        if (random() % 5 == 0) {
          fixture.commit();
          committed = all();
        }
        if (random() % 15 == 0) {
          fixture.commit();
          committed = all();
          fixture.checkpoint();
        }
        const Levels levels{all(), committed};
        const std::int64_t from = walk.near();
        const std::int64_t to = walk.near();
        for (const ReadLevel level : kLevels) {
          const auto inside = [&](const Entry& e) {
            return std::get<1>(e) >= from && std::get<1>(e) <= to;
          };
          Entries expected;
          Entries of_key;
          for (const auto& e : levels.at(level)) {
            if (!inside(e)) continue;
            expected.push_back(e);
            if (std::get<0>(e) == key) of_key.push_back(e);
          }
          const auto limit = 1 + random() % 5;
          BOOST_TEST((sorted(read_all(cache, {.level = level, .time_from = from, .time_to = to},
                                      limit)) == expected),
                     kind.name << " at step " << step);
          // Of one key: in the order of time.
          BOOST_TEST(
              (read_all(cache, {.level = level, .key = key, .time_from = from, .time_to = to},
                        limit) == of_key),
              kind.name << " at step " << step);
        }
      }
    }
  });
}

// KF-4
BOOST_AUTO_TEST_CASE(session_reads_find_what_the_store_finds) {
  for_seeds("session_reads_find_what_the_store_finds", 2, [](std::uint64_t seed) {
    for (const auto& kind : kKindEngines) {
      std::mt19937_64 random{seed};
      const auto layout = KeyLayout::session(milliseconds{300'000});
      KindFixture fixture{kind, layout, value_ops<std::string>()};
      TimeWalk walk{random, 40'000};
      for (int step = 0; step < 1000; ++step) {
        StateCache& cache = fixture.cache();
        SessionStore<std::string, std::string> store{cache, [] { return Timestamp{}; }};
        const auto key = interleaving_key(random);
        const auto end = walk.next();
        const auto start = end < 0 ? end : end - static_cast<std::int64_t>(random() % 1000);
        store.put(key, {from_millis(std::min(start, end)), from_millis(end)}, std::to_string(step));
        fixture.step(random);
        const std::int64_t earliest_end = walk.near();
        const std::int64_t latest_start = walk.near();
        Entries expected;
        SessionStore<std::string, std::string> now{fixture.cache(), [] { return Timestamp{}; }};
        for (const auto& s :
             now.find_sessions(key, from_millis(earliest_end), from_millis(latest_start))) {
          expected.emplace_back(s.key, to_millis(s.window.end), to_millis(s.window.start), s.value);
        }
        BOOST_TEST((read_all(fixture.cache(),
                             {.key = key, .time_from = earliest_end, .detail_max = latest_start},
                             1 + random() % 4) == expected),
                   kind.name << " at step " << step);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(versioned_reads_find_what_the_store_finds_and_the_committed_version) {
  for_seeds("versioned_reads_find_what_the_store_finds_and_the_committed_version", 2,
            [](std::uint64_t seed) {
              for (const auto& kind : kKindEngines) {
                std::mt19937_64 random{seed};
                const auto layout = KeyLayout::versioned(milliseconds{100'000});
                KindFixture fixture{kind, layout, value_ops<detail::Version<std::string>>()};
                for (int step = 0; step < 1000; ++step) {
                  VersionedStore<std::string, std::string> store{fixture.cache()};
                  const auto key = interleaving_key(random);
                  const auto time = static_cast<std::int64_t>(random() % 200'000);
                  std::optional<std::string> value = std::to_string(step);
                  if (random() % 6 == 0) value.reset();
                  store.put(key, value, from_millis(time));
                  fixture.step(random);
                  VersionedStore<std::string, std::string> now{fixture.cache()};
                  const auto as_of = static_cast<std::int64_t>(random() % 250'000);
                  const auto expected = now.get_as_of(key, from_millis(as_of));
                  const auto page = read_page(fixture.cache(), {.key = key, .time_to = as_of});
                  std::optional<std::string> found;
                  if (!page.entries.empty()) {
                    found =
                        Serde<detail::Version<std::string>>::decode(page.entries[0].value)->value;
                  }
                  BOOST_TEST((found.has_value() == expected.has_value()),
                             kind.name << " at step " << step);
                  if (found && expected) BOOST_TEST(*found == expected->value);
                }
                VersionedStore<std::string, std::string> store{fixture.cache()};
                store.put("one", "old", from_millis(300'000));
                fixture.commit();
                store.put("one", "new", from_millis(300'000));
                const auto page =
                    read_page(fixture.cache(), {.level = ReadLevel::kCommitted, .key = "one"});
                BOOST_REQUIRE(page.entries.size() == 1U);
                BOOST_TEST(page.entries[0].value == std::string("\1old", 4));
              }
            });
}

// A read holds a task for a bounded time: it passes over so many entries only, and copies so many
// of the changes.
BOOST_AUTO_TEST_CASE(a_page_ends_at_its_limits_and_says_where_to_go_on) {
  KindFixture fixture{kKindEngines[0],
                      KeyLayout::window(milliseconds{10}, milliseconds{1'000'000'000}, false),
                      value_ops<std::string>()};
  WindowStore<std::string, std::string> store{fixture.cache(), [] { return Timestamp{}; }};
  for (int i = 0; i < 25'000; ++i) store.put("other" + std::to_string(i), "v", from_millis(1'000));
  store.put("wanted", "v", from_millis(2'000));
  fixture.commit();
  fixture.checkpoint();
  // All are in the range asked for, none but the last of its time.
  ReadRequest request{.time_from = 2'000, .time_to = 2'000};
  std::size_t pages = 1;
  auto page = read_page(fixture.cache(), request);
  for (; page.resume; ++pages) {
    BOOST_TEST(page.entries.empty());
    request.after = page.resume;
    page = read_page(fixture.cache(), request);
  }
  BOOST_TEST(pages == 3U);
  BOOST_REQUIRE(page.entries.size() == 1U);
  BOOST_TEST(page.entries[0].key == "wanted");

  KindFixture large{kKindEngines[0], KeyLayout{}, value_ops<std::string>()};
  KeyValueStore<std::string, std::string> values{large.cache(), [] { return Timestamp{}; }};
  for (int i = 0; i < 10; ++i) values.put("k" + std::to_string(i), std::string(300'000, 'v'));
  BOOST_TEST(read_page(large.cache(), {}).entries.size() == 4U);  // 1 MiB.
  BOOST_TEST(read_all(large.cache(), {}, 1000).size() == 10U);
}

BOOST_AUTO_TEST_CASE(a_read_leaves_the_cache_as_it_was) {
  KindFixture fixture{kKindEngines[1], KeyLayout{}, value_ops<std::string>()};
  KeyValueStore<std::string, std::string> store{fixture.cache(), [] { return Timestamp{}; }};
  store.put("a", "1");
  fixture.reopen();
  const auto before = fixture.cache().figures();
  BOOST_TEST(read_page(fixture.cache(), {.key = "a"}).entries.size() == 1U);
  BOOST_TEST(read_page(fixture.cache(), {.key = "absent"}).entries.empty());
  const auto after = fixture.cache().figures();
  BOOST_TEST(after.entries == before.entries);
  BOOST_TEST(after.bytes == before.bytes);
  BOOST_TEST(after.misses == before.misses);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
