// SPDX-License-Identifier: Apache-2.0
#include "stores/state_cleaner.h"

namespace millrace {

Result<std::vector<StateCleaner::Removal>> StateCleaner::look(StateDirectory& directory,
                                                              const std::set<std::string>& owned) {
  auto present = directory.tasks();
  if (!present) return present.error();
  std::erase_if(*present, [&](const std::string& id) { return owned.contains(id); });
  const std::set<std::string> unused{present->begin(), present->end()};
  std::erase_if(unused_since_, [&](const auto& entry) { return !unused.contains(entry.first); });

  std::vector<Removal> removals;
  const auto now = clock_->elapsed();
  for (const std::string& id : unused) {
    const auto since = unused_since_.emplace(id, now).first->second;
    if (now - since < delay_ || directory.is_locked(id)) continue;
    auto aside = directory.set_aside(id);
    if (!aside) return aside.error();
    removals.push_back({id, *std::move(aside),
                        std::chrono::duration_cast<std::chrono::milliseconds>(now - since)});
    unused_since_.erase(id);
  }
  return removals;
}

}  // namespace millrace
