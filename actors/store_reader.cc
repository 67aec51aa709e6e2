// SPDX-License-Identifier: Apache-2.0
#include "actors/store_reader.h"

#include <algorithm>
#include <caf/send.hpp>
#include <mutex>
#include <utility>

#include "runtime/partitioner.h"

namespace millrace {
namespace {

// The subtopology that has the store; the store exists.
std::int32_t subtopology_of(const AppContext& app, const std::string& store) {
  const auto place = *app.graph->find_store(store);
  const auto& parts = app.graph->subtopologies();
  const auto found = std::find_if(parts.begin(), parts.end(), [&](const Subtopology& part) {
    return std::find(part.stores.begin(), part.stores.end(), place) != part.stores.end();
  });
  return static_cast<std::int32_t>(found - parts.begin());
}

std::string about(const AppContext& app, const std::string& store, const std::string& what) {
  return "store '" + store + "': " + what + " (the app is " +
         std::string{to_string(app.board.app_state())} + ")";
}

// Ok while the app runs, in whatever state. What start_up() sets is there once it has left CREATED.
Status running(const AppContext& app, const std::string& store) {
  switch (app.board.app_state()) {
    case AppState::kCreated:
      return Status::cancelled(about(app, store, "start the app first"));
    case AppState::kPendingShutdown:
    case AppState::kStopped:
    case AppState::kError:
      return Status::cancelled(about(app, store, "nothing is read any more"));
    default:
      return {};
  }
}

// Why a task does not answer here.
Status absent(const AppContext& app, const std::string& store, TaskId id) {
  if (auto status = running(app, store); !status.ok()) return status;
  const auto tasks = app.board.tasks();
  const auto found = tasks.find(id);
  const std::string task = "task " + to_string(id);
  if (found != tasks.end() && found->second.state == TaskState::kParked) {
    return Status::cancelled(about(app, store,
                                   task + " is parked: it failed and waits for another assignment "
                                          "or process (/status has the error)"));
  }
  if (found != tasks.end()) {
    return Status::unavailable(
        about(app, store,
              task + " (" + std::string{to_string(found->second.state)} +
                  ") is being opened or closed, or has too many reads waiting; ask again"));
  }
  if (!app.board.was_assigned()) {
    return Status::unavailable(about(app, store, task + " is not assigned yet; ask again"));
  }
  if (app.board.app_state() == AppState::kRebalancing) {
    return Status::unavailable(about(app, store, task + " is not here at present; ask again"));
  }
  return Status::fenced(about(app, store, task + " belongs to another instance; ask there"));
}

Result<ReadPage> read_from(Task& task, const std::string& store, const ReadRequest& request) {
  try {
    return read_page(*task.find_store(store), request);
  } catch (const StoreFailure& failure) {
    // The task meets it by itself, and fails. What the code would mean to a reader is another
    // thing.
    return Status::internal("store '" + store + "': " + failure.status().to_string());
  } catch (const std::exception& error) {
    return Status::internal("store '" + store + "': a value cannot be encoded: " + error.what());
  } catch (...) {
    return Status::internal("store '" + store +
                            "': a serde threw something that is no std::exception");
  }
}

void ask(AppContext& app, const TaskHandle& task, TaskId id, const std::string& store,
         const ReadRequest& request, const ReadAnswer& answer) {
  auto query = std::make_shared<Query>([&app, id, store, request, answer](Task* running) {
    if (running == nullptr) return answer(absent(app, store, id));
    answer(read_from(*running, store, request));
  });
  caf::anon_send(task, query_atom::value, std::move(query));
}

// Collects the answers of tasks that are not expected to have the key: the first one that has it
// counts. That nobody has it is known only if all of them answer.
class Search {
 public:
  Search(std::size_t asked, Result<KeyPage> otherwise, KeyAnswer answer)
      : open_(asked), otherwise_(std::move(otherwise)), answer_(std::move(answer)) {}

  // Of a task that cannot be asked.
  void add_silent(const Status& why) {
    if (otherwise_) otherwise_ = why;
  }

  void add(std::int32_t partition, Result<ReadPage> page) {
    const bool found = page && (!page->entries.empty() || page->resume);
    bool last = false;
    {
      const std::lock_guard lock{mutex_};
      if (!page) add_silent(page.error());
      last = --open_ == 0;
      if (answered_ || (!found && !last)) return;
      answered_ = true;
    }
    if (found) return answer_(KeyPage{partition, *std::move(page)});
    answer_(otherwise_);
  }

 private:
  std::mutex mutex_;
  std::size_t open_;
  bool answered_ = false;
  Result<KeyPage> otherwise_;
  const KeyAnswer answer_;
};

void search_others(AppContext& app, const std::string& store, const ReadRequest& request,
                   TaskId expected, Result<KeyPage> otherwise, const KeyAnswer& answer) {
  auto tasks = app.directory.of_subtopology(expected.subtopology);
  std::erase_if(tasks, [&](const auto& task) { return task.first == expected; });
  const auto search = std::make_shared<Search>(tasks.size() + 1, std::move(otherwise), answer);
  if (const auto all = partitions_to_read(app, store); !all) search->add_silent(all.error());
  search->add(expected.partition, ReadPage{});  // It has been asked.
  for (const auto& [id, task] : tasks) {
    ask(app, task, id, store, request, [search, partition = id.partition](Result<ReadPage> page) {
      search->add(partition, std::move(page));
    });
  }
}

}  // namespace

void read_partition(AppContext& app, const std::string& store, std::int32_t partition,
                    const ReadRequest& request, const ReadAnswer& answer) {
  if (auto status = running(app, store); !status.ok()) return answer(status);
  const TaskId id{subtopology_of(app, store), partition};
  const auto task = app.directory.find(id);
  if (!task) return answer(absent(app, store, id));
  ask(app, *task, id, store, request, answer);
}

void read_key(AppContext& app, const std::string& store, const ReadRequest& request,
              const KeyAnswer& answer) {
  if (auto status = running(app, store); !status.ok()) return answer(status);
  const std::int32_t part = subtopology_of(app, store);
  const TaskId id{
      part, partition_of(*request.key, app.subtopologies[static_cast<std::size_t>(part)].tasks)};
  const auto task = app.directory.find(id);
  if (!task) return search_others(app, store, request, id, absent(app, store, id), answer);
  ask(app, *task, id, store, request, [&app, store, request, id, answer](Result<ReadPage> page) {
    if (!page) return answer(page.error());
    const bool found = !page->entries.empty() || page->resume;
    KeyPage result{id.partition, *std::move(page)};
    if (found) return answer(std::move(result));
    search_others(app, store, request, id, std::move(result), answer);
  });
}

Result<std::vector<std::int32_t>> partitions_to_read(AppContext& app, const std::string& store) {
  if (auto status = running(app, store); !status.ok()) return status;
  const std::int32_t part = subtopology_of(app, store);
  if (!app.board.was_assigned()) {
    return Status::unavailable(about(app, store, "nothing is assigned yet; ask again"));
  }
  std::vector<std::int32_t> partitions;
  for (const auto& [id, status] : app.board.tasks()) {
    if (id.subtopology != part) continue;
    if (!app.directory.find(id)) return absent(app, store, id);
    partitions.push_back(id.partition);
  }
  if (partitions.empty() && app.board.app_state() == AppState::kRebalancing) {
    return Status::unavailable(about(app, store, "no partition is here at present; ask again"));
  }
  return partitions;
}

std::optional<NotReadyReason> not_ready_reason(const Status& status) {
  switch (status.code()) {
    case Code::kUnavailable:
      return NotReadyReason::kRestoring;
    case Code::kFenced:
      return NotReadyReason::kMoved;
    case Code::kCancelled:
      return NotReadyReason::kStopped;
    default:
      return std::nullopt;
  }
}

}  // namespace millrace
