// SPDX-License-Identifier: Apache-2.0
#include "runtime/task_engines.h"

#include <set>

namespace millrace {

Result<TaskEngines> TaskEngines::open(const TaskPlan& plan,
                                      const std::shared_ptr<EngineFactory>& fallback,
                                      const Directory& directory, const Discard& discard,
                                      std::string& rebuilt) {
  struct Group {
    std::shared_ptr<EngineFactory> factory;
    std::vector<std::size_t> members;  // Places in plan.stores.
  };
  std::map<std::string, Group, std::less<>> groups;
  for (std::size_t i = 0; i < plan.stores.size(); ++i) {
    const auto& own = plan.graph->stores()[plan.stores[i].store].options.engine();
    const auto& factory = own ? own : fallback;
    auto& group = groups[std::string{factory->name()}];
    group.factory = factory;
    group.members.push_back(i);
  }

  TaskEngines result;
  result.places_.resize(plan.stores.size());
  for (const auto& [name, group] : groups) {
    EngineOptions options;
    options.application_id = plan.application_id;
    options.task_id = to_string(plan.id);
    for (const std::size_t member : group.members) {
      const StoreOptions& store = plan.graph->stores()[plan.stores[member].store].options;
      options.stores.push_back(store.name());
      if (!store.engine_settings().empty())
        options.store_settings[store.name()] = store.engine_settings();
    }
    if (group.factory->persistent()) {
      auto path = directory(plan.id, name);
      if (!path) return path.error();
      options.directory = *path;
    }
    auto engine = group.factory->open(options);
    if (!engine && engine.error().code() == Code::kCorruption) {
      rebuilt = engine.error().message();
      if (auto status = discard(plan.id, name); !status.ok()) return status;
      auto path = directory(plan.id, name);
      if (!path) return path.error();
      engine = group.factory->open(options);
    }
    if (!engine) return engine.error();
    for (std::size_t i = 0; i < group.members.size(); ++i) {
      result.places_[group.members[i]] = {engine->get(), static_cast<StoreIndex>(i), name};
    }
    result.engines_.push_back(*std::move(engine));
  }
  return result;
}

Status TaskEngines::apply(std::vector<StoreCheckpoint> parts,
                          const std::map<std::string, std::int64_t>& source_offsets) {
  for (const auto& engine : engines_) {
    std::vector<StoreCheckpoint> stores;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      parts[i].store = places_[i].index;
      if (places_[i].engine == engine.get()) stores.push_back(parts[i]);
    }
    if (auto status = engine->apply({stores, source_offsets}); !status.ok()) return status;
  }
  return {};
}

Status TaskEngines::backup(
    const std::function<Result<std::filesystem::path>(std::string_view)>& directory) {
  std::set<Engine*> saved;
  for (const auto& place : places_) {
    if (!saved.insert(place.engine).second) continue;
    auto path = directory(place.engine_name);
    if (!path) return path.error();
    if (auto status = place.engine->backup(*path); !status.ok()) {
      return Status{status.code(), "engine " + place.engine_name + ": " + status.message()};
    }
  }
  return {};
}

Status TaskEngines::close() {
  Status first;
  for (const auto& engine : engines_) {
    auto status = engine->close();
    if (first.ok()) first = std::move(status);
  }
  return first;
}

}  // namespace millrace
