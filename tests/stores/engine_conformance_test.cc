// SPDX-License-Identifier: Apache-2.0
//
// What every engine must do (KS-8, KF-1). A new engine joins with one line in engine_kinds.h.

#include <array>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <memory>

#include "millrace/engine.h"
#include "tests/stores/engine_kinds.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

void for_each_engine(const std::function<void(Subject&)>& claim) {
  for (const EngineKind& kind : engine_kinds()) {
    BOOST_TEST_CONTEXT("engine " << kind.name) {
      Subject subject{kind};
      claim(subject);
    }
  }
}

std::optional<std::string> get(Engine& engine, StoreIndex store, std::string_view key) {
  return must(engine.get(store, key));
}

Entries entries_of(Engine& engine, StoreIndex store, std::optional<std::string_view> from = {},
                   std::optional<std::string_view> to = {}) {
  return must(scanned(engine, store, from, to));
}

BOOST_AUTO_TEST_SUITE(engine_conformance)

BOOST_AUTO_TEST_CASE(a_new_engine_is_empty) {
  for_each_engine([](Subject& subject) {
    BOOST_TEST(!get(subject.engine(), 0, "key"));
    BOOST_TEST(entries_of(subject.engine(), 1).empty());
    BOOST_TEST(!(*subject.engine().position(0)));
    BOOST_TEST((*subject.engine().source_offsets()).empty());
    BOOST_TEST(subject.engine().statistics(0).entries_estimate == 0U);
  });
}

// KF-2: both ends are inclusive and keys are ordered by unsigned bytes.
BOOST_AUTO_TEST_CASE(range_is_inclusive_in_byte_order) {
  for_each_engine([](Subject& subject) {
    const std::string zero{"a\0", 2};
    const Changes changes{{"", "e"},     {"a", "1"},    {zero, "2"},   {"b", "3"},
                          {"\x7f", "4"}, {"\x80", "5"}, {"\xff", "6"}, {"\xff\xff", "7"}};
    BOOST_REQUIRE(apply(subject.engine(), {changes}, at(1)).ok());
    const auto keys = [&](auto from, auto to) {
      std::string values;
      for (const auto& [key, value] : entries_of(subject.engine(), 0, from, to)) values += value;
      return values;
    };
    using Bound = std::optional<std::string_view>;
    BOOST_TEST(keys(Bound{}, Bound{}) == "e1234567");
    BOOST_TEST(keys(Bound{"a"}, Bound{"b"}) == "123");
    BOOST_TEST(keys(Bound{"a"}, Bound{"a"}) == "1");
    BOOST_TEST(keys(Bound{zero}, Bound{"\x80"}) == "2345");
    BOOST_TEST(keys(Bound{"\xff"}, Bound{}) == "67");
    BOOST_TEST(keys(Bound{}, Bound{""}) == "e");
    BOOST_TEST(keys(Bound{}, Bound{"\xff"}) == "e123456");
    BOOST_TEST(keys(Bound{"b"}, Bound{"a"}).empty());
  });
}

// KS-9: one call takes many keys, present, absent and repeated, in any order.
BOOST_AUTO_TEST_CASE(multi_get_answers_each_key_in_its_place) {
  for_each_engine([](Subject& subject) {
    Changes changes;
    for (int i = 0; i < 5000; i += 2) changes["key" + std::to_string(i)] = std::to_string(i);
    BOOST_REQUIRE(apply(subject.engine(), {changes}, at(1)).ok());
    std::vector<std::string> names;
    for (int i = 4999; i >= 0; --i) names.push_back("key" + std::to_string(i));
    names.push_back("key0");
    const std::vector<std::string_view> keys{names.begin(), names.end()};
    std::vector<std::optional<std::string>> values(keys.size(), "stale");
    BOOST_REQUIRE(subject.engine().multi_get(0, keys, values).ok());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto expected = changes.find(names[i]);
      BOOST_REQUIRE((values[i] == (expected == changes.end() ? std::nullopt : expected->second)));
    }
    values.pop_back();
    BOOST_TEST((subject.engine().multi_get(0, keys, values).code() == Code::kInvalidArgument));
    BOOST_TEST(subject.engine().multi_get(0, {}, {}).ok());
  });
}

BOOST_AUTO_TEST_CASE(scan_is_a_cut_that_later_changes_do_not_show_in) {
  for_each_engine([](Subject& subject) {
    BOOST_REQUIRE(apply(subject.engine(), {{{"a", "1"}, {"b", "2"}, {"c", "3"}}}, at(1)).ok());
    {
      auto scan = subject.engine().scan(0, {}, {});
      BOOST_REQUIRE(scan.has_value());
      BOOST_REQUIRE(apply(subject.engine(), {{{"a", {}}, {"b", "new"}, {"d", "4"}}}, at(2)).ok());
      BOOST_REQUIRE(subject.engine().clear(0).ok());
      std::string seen;
      for (; (*scan)->valid(); (*scan)->next()) {
        seen += std::string{(*scan)->key()} + std::string{(*scan)->value()};
      }
      BOOST_TEST((*scan)->status().ok());
      BOOST_TEST(seen == "a1b2c3");
    }
    BOOST_TEST(entries_of(subject.engine(), 0).empty());
  });
}

// More entries than an engine reads ahead.
BOOST_AUTO_TEST_CASE(a_long_scan_is_a_cut_too) {
  for_each_engine([](Subject& subject) {
    Changes put;
    Changes removed;
    for (int i = 0; i < 2000; ++i) {
      put["key" + std::to_string(i)] = std::to_string(i);
      removed["key" + std::to_string(i)].reset();
    }
    BOOST_REQUIRE(apply(subject.engine(), {put}, at(1)).ok());
    Entries expected;
    fold(expected, put);
    {
      const auto scan = must(subject.engine().scan(0, {}, {}));
      BOOST_REQUIRE(apply(subject.engine(), {removed}, at(2)).ok());
      Entries seen;
      for (; scan->valid(); scan->next()) seen.emplace(scan->key(), scan->value());
      BOOST_TEST(scan->status().ok());
      BOOST_TEST((seen == expected));
    }
    BOOST_TEST(entries_of(subject.engine(), 0).empty());
    BOOST_REQUIRE(apply(subject.engine(), {put}, at(3)).ok());
    BOOST_TEST((entries_of(subject.engine(), 0) == expected));
  });
}

BOOST_AUTO_TEST_CASE(checkpoint_sets_entries_positions_and_source_offsets) {
  for_each_engine([](Subject& subject) {
    const EnginePosition position{0xfedcba9876543210, -1, from_millis(-5)};
    const std::map<std::string, std::int64_t> offsets{{"", 0}, {"in-0", 1LL << 40}, {"in-1", -1}};
    const std::array changes{EngineChange{"k", "v"}};
    const std::array parts{StoreCheckpoint{1, changes, position}};
    BOOST_REQUIRE(subject.engine().apply({parts, offsets}).ok());
    BOOST_TEST((get(subject.engine(), 1, "k") == "v"));
    BOOST_TEST((*subject.engine().position(1) == position));
    BOOST_TEST(!(*subject.engine().position(0)));
    BOOST_TEST((*subject.engine().source_offsets() == offsets));
    // A checkpoint without changes moves the position.
    BOOST_REQUIRE(apply(subject.engine(), {{}, {}}, at(8)).ok());
    BOOST_TEST((*subject.engine().position(1) == at(8)));
    BOOST_TEST((get(subject.engine(), 1, "k") == "v"));
  });
}

// How windows expire: the bound is exclusive, and changes of the same checkpoint come after it.
BOOST_AUTO_TEST_CASE(erase_below_comes_before_the_changes_of_its_checkpoint) {
  for_each_engine([](Subject& subject) {
    const std::string first(600, 'b');
    const std::string second = first + "2";
    const Changes old{{"", "1"}, {"a", "2"}, {"b", "3"}, {first, "4"}, {second, "5"}, {"c", "6"}};
    BOOST_REQUIRE(apply(subject.engine(), {old, old}, at(1)).ok());
    BOOST_REQUIRE(apply(subject.engine(), {{{"a", "new"}}, {}}, at(2), {"b", {}}).ok());
    BOOST_TEST((entries_of(subject.engine(), 0) ==
                Entries{{"a", "new"}, {"b", "3"}, {first, "4"}, {second, "5"}, {"c", "6"}}));
    BOOST_TEST(entries_of(subject.engine(), 1).size() == 6U);
    BOOST_REQUIRE(apply(subject.engine(), {{}, {}}, at(3), {second, ""}).ok());
    BOOST_TEST((entries_of(subject.engine(), 0) == Entries{{second, "5"}, {"c", "6"}}));
    BOOST_TEST(entries_of(subject.engine(), 1).size() == 6U);
    BOOST_TEST((*subject.engine().position(0) == at(3)));
  });
}

// KF-31: how windows expire.
BOOST_AUTO_TEST_CASE(erasing_below_a_key_comes_before_the_changes_and_spares_open_scans) {
  for_each_engine([](Subject& subject) {
    for (const int more : {0, 25'000}) {  // A small checkpoint and one that is ingested.
      Changes before{{"", "0"}, {"a", "1"}, {"b", "2"}, {"c", "3"}, {"c\1", "4"}, {"\xff", "5"}};
      BOOST_REQUIRE(apply(subject.engine(), {before, before}, at(1)).ok());
      const auto apply_part = [&](const Changes& changes, std::string_view bound) {
        std::vector<EngineChange> list;
        for (const auto& [key, value] : changes) {
          list.push_back({key, value ? std::optional<std::string_view>{*value} : std::nullopt});
        }
        const StoreCheckpoint part{0, list, at(2), bound};
        return subject.engine().apply({{&part, 1}, {}});
      };
      {
        auto scan = must(subject.engine().scan(0, {}, {}));
        Changes changes{{"", "new 0"}, {"b", "new 2"}, {"c", std::nullopt}, {"d", "6"}};
        for (int i = 0; i < more; ++i) changes["e" + std::to_string(i)] = "";
        BOOST_REQUIRE(apply_part(changes, "c").ok());
        std::string seen;
        for (; scan->valid(); scan->next()) seen += scan->value();
        BOOST_TEST(seen == "012345");
      }
      for (int round = 0; round < 2; ++round) {
        Entries entries = entries_of(subject.engine(), 0);
        std::erase_if(entries, [](const auto& entry) { return entry.first.starts_with("e"); });
        BOOST_TEST(
            (entries ==
             Entries{{"", "new 0"}, {"b", "new 2"}, {"c\1", "4"}, {"d", "6"}, {"\xff", "5"}}));
        BOOST_TEST(entries_of(subject.engine(), 1).size() == before.size());
        BOOST_TEST(!get(subject.engine(), 0, "a"));
        BOOST_TEST((get(subject.engine(), 0, "b") == "new 2"));
        if (subject.persistent()) subject.reopen();
      }
      BOOST_REQUIRE(apply_part({}, "\xff").ok());  // Nothing but an erasure.
      BOOST_TEST((entries_of(subject.engine(), 0) == Entries{{"\xff", "5"}}));
      BOOST_REQUIRE(apply_part({}, "").ok());
      BOOST_TEST((entries_of(subject.engine(), 0) == Entries{{"\xff", "5"}}));
    }
  });
}

BOOST_AUTO_TEST_CASE(clear_empties_one_store_and_forgets_its_position) {
  for_each_engine([](Subject& subject) {
    for (int round = 0; round < 3; ++round) {
      BOOST_REQUIRE(apply(subject.engine(), {{{"k", "1"}}, {{"k", "2"}}}, at(round)).ok());
      BOOST_REQUIRE(subject.engine().clear(0).ok());
      BOOST_TEST(!get(subject.engine(), 0, "k"));
      BOOST_TEST(!(*subject.engine().position(0)));
      BOOST_TEST((get(subject.engine(), 1, "k") == "2"));
      BOOST_TEST((*subject.engine().position(1) == at(round)));
      if (subject.persistent()) subject.reopen();
    }
  });
}

BOOST_AUTO_TEST_CASE(a_refused_checkpoint_changes_nothing) {
  for_each_engine([](Subject& subject) {
    const auto status = apply(subject.engine(), {{{"k", "v"}}, {}, {{"k", "v"}}}, at(1));
    BOOST_TEST((status.code() == Code::kInvalidArgument));
    BOOST_TEST(!get(subject.engine(), 0, "k"));
    BOOST_TEST(!(*subject.engine().position(0)));
    BOOST_TEST((subject.engine().get(2, "k").error().code() == Code::kInvalidArgument));
  });
}

BOOST_AUTO_TEST_CASE(large_and_empty_values_and_the_empty_key_come_back) {
  for_each_engine([](Subject& subject) {
    const std::string large(1 << 20, '\xee');
    BOOST_REQUIRE(
        apply(subject.engine(), {{{"", "x"}, {"empty", ""}, {"large", large}}}, at(1)).ok());
    if (subject.persistent()) subject.reopen();
    BOOST_TEST((get(subject.engine(), 0, "") == "x"));
    BOOST_TEST((get(subject.engine(), 0, "empty") == ""));
    BOOST_TEST((get(subject.engine(), 0, "large") == large));
    Changes many;
    for (char c = 'a'; c < 'a' + 9; ++c) many[std::string{c}] = large;
    BOOST_REQUIRE(apply(subject.engine(), {many}, at(2)).ok());
    if (subject.persistent()) subject.reopen();
    BOOST_TEST(entries_of(subject.engine(), 0).size() == 12U);
  });
}

BOOST_AUTO_TEST_CASE(statistics_follow_the_content) {
  for_each_engine([](Subject& subject) {
    Changes changes;
    for (int i = 0; i < 1000; ++i) changes["key" + std::to_string(i)] = std::string(100, 'x');
    BOOST_REQUIRE(apply(subject.engine(), {changes}, at(1)).ok());
    const EngineStatistics statistics = subject.engine().statistics(0);
    BOOST_TEST(statistics.entries_estimate == 1000U);
    BOOST_TEST((statistics.memory_bytes > 100'000U) == subject.kind().counts_memory);
    BOOST_TEST((statistics.disk_bytes > 50'000U) == subject.kind().counts_disk);
    BOOST_TEST(subject.engine().statistics(1).entries_estimate == 0U);
  });
}

// KF-36.
BOOST_AUTO_TEST_CASE(close_is_idempotent_and_later_calls_say_so) {
  for_each_engine([](Subject& subject) {
    BOOST_TEST(subject.engine().close().ok());
    BOOST_TEST(subject.engine().close().ok());
    Engine& engine = subject.engine();
    BOOST_TEST((engine.get(0, "k").error().code() == Code::kInternal));
    BOOST_TEST((engine.multi_get(0, {}, {}).code() == Code::kInternal));
    BOOST_TEST((engine.scan(0, {}, {}).error().code() == Code::kInternal));
    BOOST_TEST((engine.apply({}).code() == Code::kInternal));
    BOOST_TEST((engine.position(0).error().code() == Code::kInternal));
    BOOST_TEST((engine.source_offsets().error().code() == Code::kInternal));
    BOOST_TEST((engine.clear(0).code() == Code::kInternal));
    BOOST_TEST(engine.statistics(0).disk_bytes == 0U);
  });
}

// Any sequence of calls leaves an engine with what a std::map would hold (KF-2, KS-9).
BOOST_AUTO_TEST_CASE(random_calls_agree_with_a_map) {
  const std::uint64_t seed = test_seed();
  for_each_engine([seed](Subject& subject) {
    BOOST_TEST_CONTEXT("MILLRACE_TEST_SEED=" << seed) {
      std::mt19937_64 random{seed};
      std::array<Entries, 2> model;
      std::array<std::optional<EnginePosition>, 2> positions;
      for (int step = 0; step < 400; ++step) {
        const auto store = static_cast<StoreIndex>(random() % 2);
        switch (random() % 8) {
          case 0:
            if (random() % 8 != 0) break;
            BOOST_REQUIRE(subject.engine().clear(store).ok());
            model[store].clear();
            positions[store].reset();
            break;
          case 1:
            if (subject.persistent() && random() % 4 == 0) subject.reopen();
            break;
          case 2: {
            const std::string from = random_key(random);
            const std::string to = random_key(random);
            BOOST_REQUIRE((entries_of(subject.engine(), store, from, to) ==
                           range_of(model[store], from, to)));
            break;
          }
          case 3: {
            std::vector<std::string> names(random() % 20);
            for (std::string& name : names) name = random_key(random);
            const std::vector<std::string_view> keys{names.begin(), names.end()};
            std::vector<std::optional<std::string>> values(keys.size());
            BOOST_REQUIRE(subject.engine().multi_get(store, keys, values).ok());
            for (std::size_t i = 0; i < keys.size(); ++i) {
              const auto entry = model[store].find(names[i]);
              BOOST_REQUIRE(values[i].has_value() == (entry != model[store].end()));
              if (values[i]) BOOST_REQUIRE(*values[i] == entry->second);
              BOOST_REQUIRE((get(subject.engine(), store, names[i]) == values[i]));
            }
            break;
          }
          default: {
            std::vector<Changes> changes{random_changes(random, random() % 30),
                                         random_changes(random, random() % 30)};
            // Now and then enough for the other way of writing a checkpoint.
            if (random() % 40 == 0) {
              for (int i = 0; i < 25'000; ++i) {
                changes[store]["b" + std::to_string(i)] =
                    i % 100 == 0 ? std::optional<std::string>{"v"} : std::nullopt;
              }
            }
            Bounds bounds(2);
            if (random() % 8 == 0) bounds[store] = random_key(random);
            BOOST_REQUIRE(apply(subject.engine(), changes, at(step), bounds).ok());
            for (const StoreIndex index : {0U, 1U}) {
              fold(model[index], changes[index], bounds[index]);
              positions[index] = at(step);
            }
          }
        }
        BOOST_REQUIRE((*subject.engine().position(store) == positions[store]));
      }
      for (const StoreIndex index : {0U, 1U}) {
        BOOST_REQUIRE((entries_of(subject.engine(), index) == model[index]));
      }
    }
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
