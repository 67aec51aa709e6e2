// SPDX-License-Identifier: Apache-2.0
#include "actors/store_reader.h"

#include <algorithm>
#include <caf/send.hpp>

#include "runtime/partitioner.h"

namespace millrace {
namespace {

// The subtopology that has the store; the store exists.
std::size_t subtopology_of(const AppContext& app, const std::string& store) {
  const auto place = *app.graph->find_store(store);
  const auto& parts = app.graph->subtopologies();
  const auto found = std::find_if(parts.begin(), parts.end(), [&](const Subtopology& part) {
    return std::find(part.stores.begin(), part.stores.end(), place) != part.stores.end();
  });
  return static_cast<std::size_t>(found - parts.begin());
}

Status not_ready(const AppContext& app, const std::string& store, const std::string& what) {
  return Status::unavailable("store '" + store + "': " + what + " (the app is " +
                             std::string{to_string(app.board.app_state())} + ")");
}

StoreEntry stored(const ValueOps& ops, std::string_view key, const void* value, Timestamp timestamp) {
  StoreEntry entry{std::string{key}, {}, {}, timestamp};
  ops.encode(value, entry.value);
  if (ops.to_json != nullptr) entry.json = ops.to_json(value);
  return entry;
}

}  // namespace

void read_entry(AppContext& app, const std::string& store, const std::string& key,
                const std::function<void(Result<std::optional<StoreEntry>>)>& answer) {
  // What start_up() sets is there once the app has left CREATED.
  if (app.board.app_state() == AppState::kCreated) return answer(not_ready(app, store, "not started"));
  const std::size_t part = subtopology_of(app, store);
  const TaskId id{static_cast<std::int32_t>(part), partition_of(key, app.subtopologies[part].tasks)};
  const auto task = app.directory.find(id);
  if (!task) return answer(not_ready(app, store, "task " + to_string(id) + " is not running here"));
  auto query = std::make_shared<Query>([&app, store, key, id, answer](Task* running) {
    if (running == nullptr) return answer(not_ready(app, store, "task " + to_string(id) + " is being closed"));
    try {
      StateCache& cache = *running->find_store(store);
      const StateEntry& entry = cache.load(key);
      if (!entry.present()) return answer(std::optional<StoreEntry>{});
      answer(std::optional<StoreEntry>{stored(cache.ops(), key, entry.value(), entry.timestamp())});
    } catch (const StoreFailure& failure) {
      answer(failure.status());
    }
  });
  caf::anon_send(*task, query_atom::value, std::move(query));
}

Status read_ranges(AppContext& app, const std::string& store, std::optional<std::string> from,
                   std::optional<std::string> to,
                   const std::function<std::function<void(Result<std::vector<StoreEntry>>)>()>& next_answer) {
  const auto part = static_cast<std::int32_t>(subtopology_of(app, store));
  for (const auto& [id, status] : app.board.tasks()) {
    if (id.subtopology == part && status.state != TaskState::kRunning) {
      return not_ready(app, store, "task " + to_string(id) + " is " + std::string{to_string(status.state)});
    }
  }
  if (app.board.app_state() != AppState::kRunning) return not_ready(app, store, "not all its tasks are running");
  for (const auto& [id, task] : app.directory.of_subtopology(part)) {
    auto query = std::make_shared<Query>([&app, store, from, to, answer = next_answer()](Task* running) {
      if (running == nullptr) return answer(not_ready(app, store, "a task is being closed"));
      try {
        StateCache& cache = *running->find_store(store);
        std::vector<StoreEntry> entries;
        const auto first = from ? std::optional<std::string_view>{*from} : std::nullopt;
        const auto last = to ? std::optional<std::string_view>{*to} : std::nullopt;
        for (auto scan = cache.scan(first, last); scan->valid(); scan->next()) {
          entries.push_back(stored(cache.ops(), scan->key(), scan->value(), scan->timestamp()));
        }
        answer(std::move(entries));
      } catch (const StoreFailure& failure) {
        answer(failure.status());
      }
    });
    caf::anon_send(task, query_atom::value, std::move(query));
  }
  return {};
}

}  // namespace millrace
