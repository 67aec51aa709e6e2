// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "millrace/engine.h"
#include "runtime/task_plan.h"

namespace millrace {

/// Whether the stores of each task can be kept side by side: invalid_argument if two of them name
/// different factories of the same persistent engine, which would share the place on disk.
Status check_engines(const Graph& graph, const std::shared_ptr<EngineFactory>& fallback);

/// The open engines of a task: one per factory in use, each with the stores that use it. Owned by
/// the task.
class TaskEngines {
 public:
  /// A store's engine and its place in it.
  struct Place {
    Engine* engine = nullptr;
    StoreIndex index = 0;
    std::string engine_name;
  };
  /// The directory for an engine of the task; called for persistent engines only.
  using Directory =
      std::function<Result<std::filesystem::path>(TaskId, std::string_view engine_name)>;
  /// Discards a damaged engine's directory, so that it can be opened anew and rebuilt from the log.
  using Discard = std::function<Status(TaskId, std::string_view engine_name)>;

  /// Opens what the plan's stores need. A damaged engine is discarded and opened empty; `rebuilt`
  /// tells why, if any was. If it says so already, all of them are known to be damaged.
  ///
  /// Precondition: `check_engines` is ok.
  static Result<TaskEngines> open(const TaskPlan& plan,
                                  const std::shared_ptr<EngineFactory>& fallback,
                                  const Directory& directory, const Discard& discard,
                                  std::string& rebuilt);

  /// In the order of `plan.stores`.
  [[nodiscard]] const std::vector<Place>& places() const { return places_; }

  /// Writes one checkpoint per engine; `parts[i]` belongs to the plan's i-th store (its `store` is
  /// set here).
  Status apply(std::vector<StoreCheckpoint> parts,
               const std::map<std::string, std::int64_t>& source_offsets);

  /// Copies each engine into the directory that `directory` gives for it.
  Status backup(
      const std::function<Result<std::filesystem::path>(std::string_view engine_name)>& directory);

  Status close();

 private:
  std::vector<std::unique_ptr<Engine>> engines_;
  std::vector<Place> places_;
};

}  // namespace millrace
