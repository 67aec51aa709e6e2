// SPDX-License-Identifier: Apache-2.0
#include "runtime/task_plan.h"

#include <algorithm>

namespace millrace {

std::string to_string(TaskId id) { return std::to_string(id.subtopology) + '_' + std::to_string(id.partition); }

std::string changelog_topic(const std::string& application_id, const std::string& store) {
  return application_id + '-' + store + "-changelog";
}

std::string driver_topic(const Subtopology& subtopology, const std::vector<std::int32_t>& partitions) {
  // Source topics are in byte order: max_element takes the first among equals.
  const auto most = std::max_element(partitions.begin(), partitions.end());
  return subtopology.source_topics[static_cast<std::size_t>(most - partitions.begin())];
}

TaskPlan plan_task(std::shared_ptr<const Graph> graph, TaskId id, const std::vector<std::int32_t>& partitions,
                   const std::string& application_id) {
  TaskPlan plan{id, std::move(graph), {}, {}, application_id};
  const Subtopology& part = plan.subtopology();
  for (std::size_t i = 0; i < part.source_topics.size(); ++i) {
    if (id.partition < partitions[i]) plan.inputs.push_back({part.source_topics[i], id.partition});
  }
  for (const std::size_t store : part.stores) {
    const auto& name = plan.graph->stores()[store].options.name();
    plan.stores.push_back({store, {changelog_topic(application_id, name), id.partition}});
  }
  return plan;
}

}  // namespace millrace
