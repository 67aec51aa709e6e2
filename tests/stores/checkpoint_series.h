// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "millrace/engine.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {

/// Checkpoints 1, 2, 3, ... of a task with two stores, small (a batch) and large (an ingestion)
/// mixed, whose number is in every value and in the position: what an engine holds must be what its
/// position says.
class CheckpointSeries {
 public:
  static constexpr int kStores = 2;
  static constexpr int kSmallKeys = 50;
  static constexpr int kLargeKeys = 21'000;

  static std::vector<std::string> store_names() { return {"accounts", "orders"}; }
  static bool large(std::int64_t number) { return number % 5 == 3 || number % 5 == 0; }

  static Status apply_to(Engine& engine, std::int64_t number) {
    return apply(engine, {changes(number), changes(number)}, at(number));
  }

  /// The number of the checkpoint that both stores hold, completely; 0 if none. Corruption is an
  /// answer, wrong data a test failure.
  static Result<std::int64_t> verified(Engine& engine) {
    std::optional<std::int64_t> both;
    for (StoreIndex store = 0; store < kStores; ++store) {
      const auto position = engine.position(store);
      if (!position) return position.error();
      const std::int64_t number = *position ? (*position)->next_offset : 0;
      const auto entries = scanned(engine, store);
      if (!entries) return entries.error();
      BOOST_REQUIRE((*entries == state_after(number)));
      BOOST_REQUIRE(both.value_or(number) == number);
      both = number;
    }
    const auto offsets = engine.source_offsets();
    if (!offsets) return offsets.error();
    if (*both > 0) BOOST_REQUIRE((*offsets).at("topic-0") == *both);
    return *both;
  }

 private:
  // Every third key is deleted, another third each time. Small checkpoints take turns between keys
  // among those of the large ones and keys beyond: an ingestion makes RocksDB flush only what
  // overlaps with it.
  static Changes changes(std::int64_t number) {
    Changes changes;
    const int keys = large(number) ? kLargeKeys : kSmallKeys;
    const std::string prefix = large(number) || number % 2 == 1 ? "key" : "other";
    for (int key = 0; key < keys; ++key) {
      auto& value = changes[prefix + std::to_string(key)];
      if ((key + number) % 3 != 0) value = std::to_string(number);
    }
    return changes;
  }

  static Entries state_after(std::int64_t number) {
    Entries entries;
    for (std::int64_t i = 1; i <= number; ++i) {
      if (i == number || !large(i) || i + 5 > number) fold(entries, changes(i));
    }
    return entries;
  }
};

}  // namespace millrace::testing
