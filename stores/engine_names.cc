// SPDX-License-Identifier: Apache-2.0
#include "stores/engine_names.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "stores/position_record.h"

namespace millrace {

Status check_store_names(const EngineOptions& options) {
  std::set<std::string_view> seen;
  for (const std::string& name : options.stores) {
    if (name.empty() || name.starts_with(kReservedPrefix)) {
      return Status::invalid_argument("a store cannot be called '" + name +
                                      "': names must not be empty or begin with 'millrace.'");
    }
    if (!seen.insert(name).second) {
      return Status::invalid_argument("two stores of a task are called '" + name + "'");
    }
  }
  return {};
}

Status check_stores(const Checkpoint& checkpoint, const EngineOptions& options,
                    std::string_view engine) {
  std::vector<bool> seen(options.stores.size());
  for (const StoreCheckpoint& part : checkpoint.stores) {
    if (part.store >= seen.size()) {
      return Status::invalid_argument(std::string{engine} + " has no store number " +
                                      std::to_string(part.store));
    }
    if (seen[part.store]) {
      return Status::invalid_argument("a checkpoint names store '" + options.stores[part.store] +
                                      "' twice");
    }
    seen[part.store] = true;
  }
  return {};
}

}  // namespace millrace
