// SPDX-License-Identifier: Apache-2.0
#include "runtime/task_engines.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace millrace {

namespace {

const std::shared_ptr<EngineFactory>& factory_of(const StoreOptions& store,
                                                 const std::shared_ptr<EngineFactory>& fallback) {
  return store.engine() ? store.engine() : fallback;
}

}  // namespace

Status check_engines(const Graph& graph, const std::shared_ptr<EngineFactory>& fallback) {
  for (const auto& part : graph.subtopologies()) {
    std::map<std::string_view, const StoreOptions*> first;
    for (const std::size_t place : part.stores) {
      const StoreOptions& store = graph.stores()[place].options;
      const auto& factory = factory_of(store, fallback);
      if (!factory->persistent()) continue;
      const StoreOptions& other = *first.emplace(factory->name(), &store).first->second;
      if (factory_of(other, fallback) == factory) continue;
      const std::string name{factory->name()};
      return Status::invalid_argument(
          "stores '" + other.name() + "' and '" + store.name() + "' have two different engines '" +
          name + "', but belong to one task, whose stores in '" + name +
          "' share one: make the engine once and give it to both (StoreOptions::engine), with what "
          "is of one store in StoreOptions::engine_settings");
    }
  }
  return {};
}

Result<TaskEngines> TaskEngines::open(const TaskPlan& plan,
                                      const std::shared_ptr<EngineFactory>& fallback,
                                      const Directory& directory, const Discard& discard,
                                      std::string& rebuilt) {
  struct Group {
    std::shared_ptr<EngineFactory> factory;
    std::vector<std::size_t> members = {};  // Places in plan.stores.
  };
  std::vector<Group> groups;
  for (std::size_t i = 0; i < plan.stores.size(); ++i) {
    const auto& factory = factory_of(plan.graph->stores()[plan.stores[i].store].options, fallback);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Group& g) { return g.factory == factory; });
    if (group == groups.end()) group = groups.insert(groups.end(), Group{factory});
    group->members.push_back(i);
  }

  const bool known_damage = !rebuilt.empty();
  TaskEngines result;
  result.places_.resize(plan.stores.size());
  for (const auto& group : groups) {
    const std::string name{group.factory->name()};
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
      if (known_damage) {
        if (auto status = discard(plan.id, name); !status.ok()) return status;
      }
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
