// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/log.h"
#include "actors/messages.h"
#include "actors/status_board.h"
#include "actors/watchdog.h"
#include "millrace/config.h"
#include "millrace/metrics.h"
#include "runtime/kafka/data_consumer.h"
#include "runtime/kafka/kafka_sink.h"
#include "runtime/task.h"
#include "stores/state_directory.h"

namespace millrace {

/// A subtopology with what the broker told about its topics.
struct PlacedSubtopology {
  std::vector<std::int32_t> partitions;  ///< Per source topic.
  std::string driver;                    ///< Its partitions place the tasks.
  std::int32_t tasks = 0;
};

/// The tasks that are running here, for queries. Thread-safe.
class TaskDirectory {
 public:
  void add(TaskId id, TaskHandle handle);
  void remove(TaskId id);
  void clear();
  [[nodiscard]] std::optional<TaskHandle> find(TaskId id) const;
  [[nodiscard]] std::vector<std::pair<TaskId, TaskHandle>> of_subtopology(
      std::int32_t subtopology) const;

 private:
  mutable std::mutex mutex_;
  std::map<TaskId, TaskHandle> tasks_;
};

/// What the actors of one App share. Made before the actor system, destroyed after it. What is not
/// const is thread-safe.
struct AppContext {
  /// The start refuses the others by name.
  static metrics::Labels legal_labels(const std::map<std::string, std::string>& labels) {
    metrics::Labels legal{labels.begin(), labels.end()};
    std::erase_if(legal, [](const auto& label) { return !metrics::is_label_name(label.first); });
    return legal;
  }

  AppContext(Config the_config, std::shared_ptr<const Graph> the_graph)
      : config(std::move(the_config)),
        graph(std::move(the_graph)),
        log(config.log, config.application_id),
        registry(legal_labels(config.metric_labels)),
        board(log, registry),
        watchdog(log, registry, config.handler_timeout),
        budget(config.cache_bytes_max) {}

  /// Outputs, changes and offsets of all tasks are one transaction.
  [[nodiscard]] bool transactional() const { return config.guarantee == Guarantee::kExactlyOnce; }

  const Config config;
  const std::shared_ptr<const Graph> graph;
  const Log log;
  const Clock& clock = system_clock();
  metrics::Registry registry;
  StatusBoard board;
  Watchdog watchdog;
  TaskDirectory directory;
  CacheBudget budget;

  /// Whether the process was asked to end while the App is starting. Set before start().
  std::function<bool()> stop_asked = [] { return false; };

  // Set by start_up(), constant afterwards.
  std::vector<PlacedSubtopology> subtopologies;
  std::map<std::string, std::chrono::milliseconds> delete_retention;    // By changelog.
  std::map<std::string, std::chrono::milliseconds> min_compaction_lag;  // Likewise.
  std::uint64_t cluster = 0;
  std::shared_ptr<EngineFactory> engine;
  std::unique_ptr<Producer> producer;
  std::unique_ptr<KafkaSink> sink;
  std::unique_ptr<DataConsumer> data;

  std::mutex backup_mutex;  ///< Held by a backup while it writes.
  std::mutex state_directory_mutex;
  std::optional<StateDirectory> state_directory;  ///< Guarded by state_directory_mutex.
};

}  // namespace millrace
