// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "actors/app_context.h"
#include "millrace/store_read.h"

/// Reads of stores by message to their tasks. Any thread. `answer` is called once, from an actor's
/// thread or at once.
///
/// Errors: unavailable (restoring or overloaded), fenced (the partition is not this instance's),
/// cancelled (the app does not run), and what a read of the store gives.
namespace millrace {

using ReadAnswer = std::function<void(Result<ReadPage>)>;

/// A page with the partition it is from.
struct KeyPage {
  std::int32_t partition = 0;
  ReadPage page;
};
using KeyAnswer = std::function<void(Result<KeyPage>)>;

/// Asks the task of one partition.
void read_partition(AppContext& app, const std::string& store, std::int32_t partition,
                    const ReadRequest& request, const ReadAnswer& answer);

/// Asks the task where `request.key` belongs; if it has nothing or is not here, all other tasks of
/// the store that run here. The answer is the first page that is not empty; without one it is that
/// of the task where the key belongs.
void read_key(AppContext& app, const std::string& store, const ReadRequest& request,
              const KeyAnswer& answer);

/// The partitions of a store that a read of all has to ask, ascending. An error if one assigned
/// here does not run.
[[nodiscard]] Result<std::vector<std::int32_t>> partitions_to_read(AppContext& app,
                                                                   const std::string& store);

/// The typed reason of a Status that says that a store cannot be read now; nullopt for others.
[[nodiscard]] std::optional<NotReadyReason> not_ready_reason(const Status& status);

}  // namespace millrace
