// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "millrace/state_cache.h"

namespace millrace {

/// What a reader outside the topology asks a task's part of a store for. Owns its bytes: it crosses
/// threads.
struct ReadRequest {
  ReadLevel level = ReadLevel::kLatest;
  /// One key, encoded; nullopt: all keys. Required of versioned stores.
  std::optional<std::string> key = {};
  /// Of key-value stores without `key`: from <= key <= to; an absent end is open.
  std::optional<std::string> from = {};
  std::optional<std::string> to = {};
  /// Window starts, session ends; both inclusive. Of versioned stores: as of `time_to`.
  std::int64_t time_from = std::numeric_limits<std::int64_t>::min();
  std::int64_t time_to = std::numeric_limits<std::int64_t>::max();
  /// Of session stores: the latest start.
  std::int64_t detail_max = std::numeric_limits<std::int64_t>::max();
  /// Where the page before ended.
  std::optional<std::string> after = {};
  /// 1 or more.
  std::size_t entries_max = 1000;
};

/// An entry of a store, encoded.
struct StoredEntry {
  std::string key;
  std::string value;
  Timestamp timestamp;
  std::int64_t time = 0;    ///< Window start, session end or time of the version.
  std::int64_t detail = 0;  ///< Session start.
};

/// A part of an answer: one consistent cut.
struct ReadPage {
  std::vector<StoredEntry> entries;
  /// Set: there may be more behind this place, also when there are no entries.
  std::optional<std::string> resume = {};
};

/// Reads one page on the thread of the cache's task, between records. What it costs the task is
/// bounded: by `entries_max`, by 1 MiB of keys and values, by 10,000 entries that it passes over,
/// and by a pass over the changes that the engine lacks. Nothing of the cache changes.
///
/// Entries come in the byte order of their keys; of window and session stores by segment of time
/// (KeyLayout) first. Throws StoreFailure, and what a serde throws.
[[nodiscard]] ReadPage read_page(StateCache& cache, const ReadRequest& request);

}  // namespace millrace
