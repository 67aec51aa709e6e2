// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "millrace/graph.h"
#include "runtime/error_rules.h"
#include "runtime/topic_partition.h"

namespace millrace {

/// Subtopology and partition; "0_3" in text.
struct TaskId {
  std::int32_t subtopology = 0;
  std::int32_t partition = 0;

  auto operator<=>(const TaskId&) const = default;
};
[[nodiscard]] std::string to_string(TaskId id);

/// A store of a task and the changelog partition behind it.
struct StorePlan {
  std::size_t store = 0;     ///< Place in Graph::stores().
  TopicPartition changelog;  ///< Its topic is empty where the store has none.
  /// Nothing relates what the engine holds to the commit point: each start clears it.
  bool starts_empty = false;
  /// A table whose changelog is the topic that it reads: others write it, the store never does. Its
  /// committed end is the next offset of that input.
  bool on_source = false;
  /// Of such a table, also where its topic has no partition for the task: processors may not write.
  bool read_only = false;

  [[nodiscard]] bool has_changelog() const { return !changelog.topic.empty(); }
  [[nodiscard]] bool writes_changelog() const { return has_changelog() && !on_source; }
};

/// What a task consists of. Plain data; the graph is frozen.
struct TaskPlan {
  TaskId id;
  std::shared_ptr<const Graph> graph;
  /// Input partitions, in byte order of the topic; a topic with fewer partitions may have none for
  /// this task.
  std::vector<TopicPartition> inputs;
  std::vector<StorePlan> stores;
  std::string application_id = {};

  [[nodiscard]] const Subtopology& subtopology() const {
    return graph->subtopologies()[static_cast<std::size_t>(id.subtopology)];
  }
};

/// Whether a store is a table whose own topic is its changelog: folding the topic gives what the
/// store holds, and nobody asked for another one.
[[nodiscard]] bool source_is_changelog(const Graph& graph, const StoreSpec& store,
                                       const ErrorRules& defaults);

/// `<application id>-<store>-changelog` (KF-13), or the store's own name; empty if it has none. Not
/// for tables whose source is their changelog.
[[nodiscard]] std::string changelog_topic(const std::string& application_id, const StoreOptions&);

/// Throws TopologyError if a changelog is another store's, or a source or sink of the topology, or
/// if its name is too long.
void check_changelog_topics(const Graph& graph, const std::string& application_id,
                            const ErrorRules& defaults = {});

/// The topic whose partitions place a subtopology's tasks: the one with most partitions, the first
/// by name among equals. `partitions[i]` is the count of `source_topics[i]`.
[[nodiscard]] std::string driver_topic(const Subtopology& subtopology,
                                       const std::vector<std::int32_t>& partitions);

/// The plan of one task. `partitions[i]` is the count of the subtopology's `source_topics[i]`.
[[nodiscard]] TaskPlan plan_task(std::shared_ptr<const Graph> graph, TaskId id,
                                 const std::vector<std::int32_t>& partitions,
                                 const std::string& application_id,
                                 const ErrorRules& defaults = {});

}  // namespace millrace
