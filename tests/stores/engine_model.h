// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdlib.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/engine.h"

namespace millrace::testing {

/// A directory of its own for a test, removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-test-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Seeds random tests: MILLRACE_TEST_SEED repeats a run, whose seed is printed when it fails.
inline std::uint64_t test_seed() {
  const char* const given = std::getenv("MILLRACE_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

/// The value of a result that must have one.
template <class T>
T must(Result<T> result) {
  if (!result) BOOST_FAIL(result.error().to_string());
  return *std::move(result);
}

using Entries = std::map<std::string, std::string>;
using Changes = std::map<std::string, std::optional<std::string>>;

/// By store (index): below what key everything is erased first.
using Bounds = std::vector<std::optional<std::string>>;

/// Applies one change set per store (by index) in one checkpoint; every store gets `position`.
inline Status apply(Engine& engine, const std::vector<Changes>& stores, EnginePosition position,
                    const Bounds& erase_below = {}) {
  std::vector<std::vector<EngineChange>> changes(stores.size());
  std::vector<StoreCheckpoint> parts;
  for (StoreIndex store = 0; store < stores.size(); ++store) {
    for (const auto& [key, value] : stores[store]) {
      changes[store].push_back(
          {key, value ? std::optional<std::string_view>{*value} : std::nullopt});
    }
    parts.push_back({store, changes[store], position});
    if (store < erase_below.size()) parts.back().erase_below = erase_below[store];
  }
  return engine.apply({parts, {{"topic-0", position.next_offset}}});
}

/// A position that says no more than its offset.
inline EnginePosition at(std::int64_t next_offset) { return {7, next_offset, from_millis(99)}; }

inline void fold(Entries& entries, const Changes& changes,
                 const std::optional<std::string>& erase_below = {}) {
  if (erase_below) entries.erase(entries.begin(), entries.lower_bound(*erase_below));
  for (const auto& [key, value] : changes) {
    if (value) {
      entries[key] = *value;
    } else {
      entries.erase(key);
    }
  }
}

/// What of `entries` is within [from, to].
inline Entries range_of(const Entries& entries, std::optional<std::string_view> from,
                        std::optional<std::string_view> to) {
  if (from && to && *from > *to) return {};
  return {from ? entries.lower_bound(std::string{*from}) : entries.begin(),
          to ? entries.upper_bound(std::string{*to}) : entries.end()};
}

/// What a scan of [from, to] yields, or its error. The order is checked.
inline Result<Entries> scanned(Engine& engine, StoreIndex store,
                               std::optional<std::string_view> from = {},
                               std::optional<std::string_view> to = {}) {
  auto scan = engine.scan(store, from, to);
  if (!scan) return scan.error();
  Entries entries;
  for (; (*scan)->valid(); (*scan)->next()) {
    BOOST_TEST((entries.empty() || entries.rbegin()->first < (*scan)->key()));
    entries.emplace_hint(entries.end(), (*scan)->key(), (*scan)->value());
  }
  if (auto status = (*scan)->status(); !status.ok()) return status;
  return entries;
}

/// Few different bytes, so that keys collide and are prefixes of each other; 0x00 and 0xff are
/// where orders go wrong.
inline std::string random_key(std::mt19937_64& random) {
  constexpr std::array kBytes{'\x00', '\x01', 'a', '\x7f', '\x80', '\xff'};
  // Around the longest key that LMDB takes as it is.
  std::string key;
  if (random() % 16 == 0) key.assign(507 + random() % 5, 'a');
  for (auto length = random() % 4; length > 0; --length) key += kBytes[random() % kBytes.size()];
  return key;
}

inline Changes random_changes(std::mt19937_64& random, std::size_t count) {
  Changes changes;
  for (std::size_t i = 0; i < count; ++i) {
    auto& value = changes[random_key(random)];
    value.reset();
    if (random() % 3 != 0) value = std::string(random() % 20, static_cast<char>(random()));
  }
  return changes;
}

}  // namespace millrace::testing
