// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace millrace {

/// The first 8 bytes of a key as a number that orders as they do; shorter keys count as filled up
/// with zeros.
[[nodiscard]] inline std::uint64_t key_prefix(std::string_view key) {
  std::uint64_t prefix = 0;
  for (std::size_t i = 0; i < sizeof(prefix); ++i) {
    prefix = prefix << 8U | (i < key.size() ? static_cast<unsigned char>(key[i]) : 0U);
  }
  return prefix;
}

/// Sorts by the byte order of `key_of(item)`; equal keys keep their order. The keys' first bytes
/// are compared as numbers beside the sorted places, so that most comparisons touch no key: sorting
/// was a tenth of a checkpoint-heavy run.
template <class Item, class KeyOf>
void sort_by_key(std::vector<Item>& items, const KeyOf& key_of) {
  struct Place {
    std::uint64_t prefix;
    std::size_t index;
  };
  std::vector<Place> places;
  places.reserve(items.size());
  for (std::size_t i = 0; i < items.size(); ++i)
    places.push_back({key_prefix(key_of(items[i])), i});
  std::sort(places.begin(), places.end(), [&](const Place& a, const Place& b) {
    if (a.prefix != b.prefix) return a.prefix < b.prefix;
    const int order = key_of(items[a.index]).compare(key_of(items[b.index]));
    return order != 0 ? order < 0 : a.index < b.index;
  });
  std::vector<Item> sorted;
  sorted.reserve(items.size());
  for (const Place& place : places) sorted.push_back(std::move(items[place.index]));
  items.swap(sorted);
}

}  // namespace millrace
