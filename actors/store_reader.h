// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "actors/app_context.h"

namespace millrace {

/// An entry of a store, encoded.
struct StoreEntry {
  std::string key;
  std::string value;
  std::string json;  ///< The value as JSON; empty if its type has none.
  Timestamp timestamp;
};

/// Asks the task that owns `key` for its entry. `answer` is called once, from an actor's thread or at once; unavailable when
/// the partition is not served here. Any thread.
void read_entry(AppContext& app, const std::string& store, const std::string& key,
                const std::function<void(Result<std::optional<StoreEntry>>)>& answer);

/// Asks every task that is running here for its entries with from <= key <= to. `next_answer` is called per task, at once,
/// and gives the function to call with that task's entries. unavailable if some assigned task of the store is not running.
Status read_ranges(AppContext& app, const std::string& store, std::optional<std::string> from,
                   std::optional<std::string> to,
                   const std::function<std::function<void(Result<std::vector<StoreEntry>>)>()>& next_answer);

}  // namespace millrace
