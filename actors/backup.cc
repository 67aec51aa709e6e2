// SPDX-License-Identifier: Apache-2.0
#include "actors/backup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <caf/send.hpp>
#include <future>
#include <system_error>

#include "millrace/error.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

// The tasks that are here; all of them must run.
std::vector<std::pair<TaskId, TaskHandle>> tasks_to_save(const AppContext& app) {
  const AppState state = app.board.app_state();
  if (state == AppState::kCreated || state == AppState::kPendingShutdown ||
      state == AppState::kStopped || state == AppState::kError || !app.board.was_assigned()) {
    throw BackupError(
        BackupProblem::kNotReady,
        "no backup: the app is " + std::string{to_string(state)} + "; wait until it is RUNNING");
  }
  std::vector<std::pair<TaskId, TaskHandle>> tasks;
  for (const auto& [id, status] : app.board.tasks()) {
    auto task = app.directory.find(id);
    if (!task) {
      throw BackupError(BackupProblem::kNotReady, "no backup: task " + to_string(id) + " is " +
                                                      std::string{to_string(status.state)} +
                                                      "; wait until the app is RUNNING");
    }
    tasks.emplace_back(id, *std::move(task));
  }
  if (tasks.empty() && state != AppState::kRunning) {
    throw BackupError(BackupProblem::kNotReady,
                      "no backup: the app is " + std::string{to_string(state)} +
                          " and has no tasks at present; wait until it is RUNNING");
  }
  return tasks;
}

[[noreturn]] void not_writable(const fs::path& directory, const std::string& why) {
  throw BackupError(BackupProblem::kNotWritable,
                    "no backup: '" + directory.string() + "' cannot be used: " + why +
                        "; name a directory that this user may write to");
}

bool is_within(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

// A backup in the state would be taken for a part of it, and one around it be no copy of its own.
void check_apart(const fs::path& directory, const fs::path& state) {
  const auto resolved = [](const fs::path& path) {
    std::error_code error;
    auto real = fs::weakly_canonical(path, error);
    if (error) not_writable(path, error.message());
    return real.has_filename() ? real : real.parent_path();  // Without a slash at its end.
  };
  const fs::path own = resolved(directory);
  const fs::path other = resolved(state);
  if (!is_within(own, other) && !is_within(other, own)) return;
  throw BackupError(BackupProblem::kStateDirectory,
                    "no backup: '" + directory.string() + "' is the state directory '" +
                        state.string() + "', above it or inside it; name a directory beside it");
}

// Leaves an empty directory on the file system of the state, or throws.
void prepare(const fs::path& directory, const fs::path& state) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) not_writable(directory, error.message());
  const bool empty = fs::is_empty(directory, error);
  if (error) not_writable(directory, error.message());
  if (!empty) {
    throw BackupError(BackupProblem::kNotEmpty,
                      "no backup: '" + directory.string() +
                          "' is not empty; name an empty directory or one that does not exist");
  }
  if (::access(directory.c_str(), W_OK | X_OK) != 0) {
    not_writable(directory, std::generic_category().message(errno));
  }
  struct stat own {};
  struct stat other {};
  if (::stat(directory.c_str(), &own) != 0 || ::stat(state.c_str(), &other) != 0) {
    not_writable(directory, std::generic_category().message(errno));
  }
  if (own.st_dev == other.st_dev) return;
  throw BackupError(
      BackupProblem::kOtherFileSystem,
      "no backup: '" + directory.string() + "' is on another file system than the state in '" +
          state.string() +
          "', whose files it would share; make the backup beside the state and copy it "
          "from there");
}

// Removes what was written unless the backup is kept.
class Attempt {
 public:
  explicit Attempt(fs::path directory) : directory_(std::move(directory)) {}
  ~Attempt() {
    if (kept_) return;
    std::error_code ignored;
    for (fs::directory_iterator entry{directory_, ignored};
         !ignored && entry != fs::directory_iterator{}; entry.increment(ignored)) {
      std::error_code left;
      fs::remove_all(entry->path(), left);
    }
  }
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  void keep() { kept_ = true; }

 private:
  const fs::path directory_;
  bool kept_ = false;
};

Result<TaskBackup> save(const std::pair<TaskId, TaskHandle>& task,
                        const std::shared_ptr<StateDirectory>& target) {
  auto promise = std::make_shared<std::promise<Result<TaskBackup>>>();
  auto future = promise->get_future();
  auto query = std::make_shared<Query>([promise, target, id = task.first](Task* running) {
    if (running == nullptr) {
      return promise->set_value(
          Status::cancelled("task " + to_string(id) + " was closed meanwhile"));
    }
    auto status = running->backup(
        [&](std::string_view engine) { return target->task_directory(to_string(id), engine); });
    if (!status.ok()) return promise->set_value(status);
    TaskBackup saved;
    saved.task = to_string(id);
    const CommitPoint& point = running->commit_point();
    for (const auto& store : running->plan().stores) {
      // Without a changelog a store begins empty wherever it begins.
      const auto end = point.changelog_ends.find(store.changelog.topic);
      if (end != point.changelog_ends.end())
        saved.changelog_positions[to_string(store.changelog)] = end->second;
    }
    for (const auto& input : running->plan().inputs) {
      saved.source_offsets[to_string(input)] = point.sources.at(input.topic);
    }
    promise->set_value(std::move(saved));
  });
  caf::anon_send(task.second, query_atom::value, std::move(query));
  query.reset();
  return future.get();  // Comes in any case: a query that is dropped answers too.
}

BackupProblem problem_of(const Status& status) {
  switch (status.code()) {
    case Code::kInvalidArgument:
      return BackupProblem::kEngine;
    case Code::kCancelled:
      return BackupProblem::kNotReady;
    default:
      return BackupProblem::kFailed;
  }
}

}  // namespace

BackupReport make_backup(AppContext& app, const fs::path& directory,
                         const BackupListener& listener) {
  const auto tasks = tasks_to_save(app);
  // One after the other: the second into the same directory finds it in use.
  const std::lock_guard lock{app.backup_mutex};
  std::error_code error;
  const fs::path absolute = fs::absolute(directory, error);
  if (error) not_writable(directory, error.message());
  check_apart(absolute, app.config.state_dir);
  prepare(absolute, app.config.state_dir);
  Attempt attempt{absolute};
  BackupReport report{absolute, {}};
  {
    auto opened = StateDirectory::open(absolute, app.config.application_id);
    if (!opened) not_writable(absolute, opened.error().message());
    const auto target = std::make_shared<StateDirectory>(*std::move(opened));
    for (const auto& task : tasks) {
      auto saved = save(task, target);
      if (!saved)
        throw BackupError(problem_of(saved.error()), "no backup: " + saved.error().message());
      report.tasks.push_back(*std::move(saved));
      if (listener) listener({report.tasks.back(), report.tasks.size(), tasks.size()});
    }
  }
  attempt.keep();
  app.log.info("backup of " + std::to_string(tasks.size()) + " tasks in '" + absolute.string() +
               "'");
  return report;
}

}  // namespace millrace
