// SPDX-License-Identifier: Apache-2.0
//
// Ten thousand short random sequences of calls: the same seeds on every engine, each compared with
// a std::map after every call (KS-8, KF-1, KF-2).

#include <array>
#include <boost/test/unit_test.hpp>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "millrace/engine.h"
#include "tests/stores/engine_kinds.h"
#include "tests/stores/engine_model.h"
#include "tests/support/seed.h"

namespace millrace::testing {
namespace {

constexpr std::size_t kSeeds = 2'500;
constexpr std::size_t kCallsMax = 12;

using Random = std::mt19937_64;

std::optional<std::string> random_bound(Random& random) {
  if (random() % 3 == 0) return std::nullopt;
  return random_key(random);
}

std::optional<std::string_view> view(const std::optional<std::string>& bound) {
  if (!bound) return std::nullopt;
  return *bound;
}

// An engine beside what it must hold.
class Checked {
 public:
  explicit Checked(const EngineKind& kind) : subject_(kind) {}

  // Afterwards all is as in a new engine that has seen one checkpoint.
  void reset() {
    std::vector<Changes> removed(2);
    for (StoreIndex store = 0; store < 2; ++store) {
      for (const auto& [key, value] : model_[store]) removed[store][key].reset();
    }
    apply_to_both(removed, {});
  }

  void call(Random& random) {
    const auto store = static_cast<StoreIndex>(random() % 2);
    const auto choice = random() % 100;
    if (choice < 45) {
      change(random);
    } else if (choice < 60) {
      look_up(random, store);
    } else if (choice < 75) {
      const auto from = random_bound(random);
      const auto to = random_bound(random);
      BOOST_REQUIRE((must(scanned(subject_.engine(), store, view(from), view(to))) ==
                     range_of(model_[store], view(from), view(to))));
    } else if (choice < 90) {
      scan_while_it_changes(random, store);
    } else if (choice < 92) {
      BOOST_REQUIRE(subject_.engine().clear(store).ok());
      model_[store].clear();
      positions_[store].reset();
    } else if (choice < 94 && subject_.persistent()) {
      subject_.reopen();
    } else {
      statistics(store);
    }
    verify_positions();
  }

  void verify() {
    for (StoreIndex store = 0; store < 2; ++store) {
      BOOST_REQUIRE((must(scanned(subject_.engine(), store)) == model_[store]));
    }
  }

 private:
  void apply_to_both(const std::vector<Changes>& changes, const Bounds& bounds) {
    ++offset_;
    BOOST_REQUIRE(apply(subject_.engine(), changes, at(offset_), bounds).ok());
    for (StoreIndex store = 0; store < 2; ++store) {
      fold(model_[store], changes[store], bounds.empty() ? std::nullopt : bounds[store]);
      positions_[store] = at(offset_);
    }
  }

  void change(Random& random) {
    const std::vector<Changes> changes{random_changes(random, random() % 12),
                                       random_changes(random, random() % 12)};
    Bounds bounds(2);
    for (auto& bound : bounds) {
      if (random() % 4 == 0) bound = random_key(random);
    }
    apply_to_both(changes, bounds);
  }

  void look_up(Random& random, StoreIndex store) {
    std::vector<std::string> names(1 + random() % 8);
    for (std::string& name : names) name = random_key(random);
    const std::vector<std::string_view> keys{names.begin(), names.end()};
    std::vector<std::optional<std::string>> values(keys.size(), "stale");
    BOOST_REQUIRE(subject_.engine().multi_get(store, keys, values).ok());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto entry = model_[store].find(names[i]);
      const auto expected =
          entry == model_[store].end() ? std::nullopt : std::optional{entry->second};
      BOOST_REQUIRE((values[i] == expected));
      BOOST_REQUIRE((must(subject_.engine().get(store, keys[i])) == expected));
    }
  }

  void scan_while_it_changes(Random& random, StoreIndex store) {
    const auto from = random_bound(random);
    const auto to = random_bound(random);
    const Entries expected = range_of(model_[store], view(from), view(to));
    const auto scan = must(subject_.engine().scan(store, view(from), view(to)));
    Entries seen;
    const auto take = [&](std::size_t count) {
      for (; count > 0 && scan->valid(); --count, scan->next()) {
        seen.emplace_hint(seen.end(), scan->key(), scan->value());
      }
    };
    take(random() % 4);
    change(random);
    take(random() % 4);
    change(random);
    take(expected.size() + 1);
    BOOST_REQUIRE(scan->status().ok());
    BOOST_REQUIRE((seen == expected));
  }

  // RocksDB only estimates; in LMDB keys beyond its limit count as one where they begin alike.
  void statistics(StoreIndex store) {
    const auto figures = subject_.engine().statistics(store);
    if (subject_.kind().name == "rocksdb") return;
    BOOST_REQUIRE(figures.entries_estimate <= model_[store].size());
    BOOST_REQUIRE((figures.entries_estimate == 0) == model_[store].empty());
  }

  void verify_positions() {
    for (StoreIndex store = 0; store < 2; ++store) {
      BOOST_REQUIRE((must(subject_.engine().position(store)) == positions_[store]));
    }
    BOOST_REQUIRE(must(subject_.engine().source_offsets()).at("topic-0") == offset_);
  }

  Subject subject_;
  std::array<Entries, 2> model_;
  std::array<std::optional<EnginePosition>, 2> positions_;
  std::int64_t offset_ = 0;
};

BOOST_AUTO_TEST_SUITE(engine_property)

BOOST_AUTO_TEST_CASE(every_engine_agrees_with_a_map_on_the_same_random_calls) {
  std::vector<std::unique_ptr<Checked>> engines;
  for (const EngineKind& kind : engine_kinds()) engines.push_back(std::make_unique<Checked>(kind));
  for_seeds("engine_property", kSeeds, [&](std::uint64_t seed) {
    for (std::size_t i = 0; i < engines.size(); ++i) {
      BOOST_TEST_CONTEXT("engine " << engine_kinds()[i].name) {
        Random random{seed};
        engines[i]->reset();
        for (auto calls = 1 + random() % kCallsMax; calls > 0; --calls) engines[i]->call(random);
        engines[i]->verify();
      }
    }
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
