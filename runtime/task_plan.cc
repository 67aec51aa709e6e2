// SPDX-License-Identifier: Apache-2.0
#include "runtime/task_plan.h"

#include <algorithm>
#include <map>

namespace millrace {
namespace {

constexpr std::size_t kTopicNameSizeMax = 249;  // Kafka's.

}  // namespace

std::string to_string(TaskId id) {
  return std::to_string(id.subtopology) + '_' + std::to_string(id.partition);
}

std::string changelog_topic(const std::string& application_id, const StoreOptions& store) {
  if (!store.changelog()) return {};
  if (!store.changelog()->topic.empty()) return store.changelog()->topic;
  return application_id + '-' + store.name() + "-changelog";
}

bool source_is_changelog(const Graph& graph, const StoreSpec& store, const ErrorRules& defaults) {
  const StoreOptions& options = store.options;
  if (store.table_topic.empty() || options.changelog_asked_for() || !options.changelog() ||
      options.ttl()) {
    return false;
  }
  const auto& nodes = graph.nodes();
  const auto source = std::find_if(nodes.begin(), nodes.end(), [&](const Node& node) {
    return node.kind == NodeKind::kSource && node.topic == store.table_topic;
  });
  return !rules_of(source->source, defaults).may_give_up();
}

void check_changelog_topics(const Graph& graph, const std::string& application_id,
                            const ErrorRules& defaults) {
  std::map<std::string, std::string> users;
  for (const auto& part : graph.subtopologies()) {
    for (const auto& topic : part.source_topics) users[topic] = "read by the topology";
    for (const auto& topic : part.sink_topics) users[topic] = "written by the topology";
  }
  for (const auto& store : graph.stores()) {
    const auto topic = changelog_topic(application_id, store.options);
    if (topic.empty() || source_is_changelog(graph, store, defaults)) continue;
    const std::string& name = store.options.name();
    if (topic.size() > kTopicNameSizeMax) {
      throw TopologyError("store '" + name + "': its changelog's name '" + topic + "' has " +
                          std::to_string(topic.size()) + " characters, Kafka allows " +
                          std::to_string(kTopicNameSizeMax) +
                          "; shorten the application id or the store's name, or name the changelog "
                          "(ChangelogOptions::topic)");
    }
    const auto [user, is_free] = users.emplace(topic, "the changelog of store '" + name + "'");
    if (is_free) continue;
    throw TopologyError("store '" + name + "': its changelog '" + topic + "' is " + user->second +
                        " already; give it a changelog of its own (StoreOptions::changelog)");
  }
}

std::string driver_topic(const Subtopology& subtopology,
                         const std::vector<std::int32_t>& partitions) {
  // Source topics are in byte order: max_element takes the first among equals.
  const auto most = std::max_element(partitions.begin(), partitions.end());
  return subtopology.source_topics[static_cast<std::size_t>(most - partitions.begin())];
}

TaskPlan plan_task(std::shared_ptr<const Graph> graph, TaskId id,
                   const std::vector<std::int32_t>& partitions, const std::string& application_id,
                   const ErrorRules& defaults) {
  TaskPlan plan{id, std::move(graph), {}, {}, application_id};
  const Subtopology& part = plan.subtopology();
  for (std::size_t i = 0; i < part.source_topics.size(); ++i) {
    if (id.partition < partitions[i]) plan.inputs.push_back({part.source_topics[i], id.partition});
  }
  for (const std::size_t store : part.stores) {
    const StoreSpec& spec = plan.graph->stores()[store];
    const auto& options = spec.options;
    const bool starts_empty = !options.changelog() || options.changelog()->skip_restoration;
    StorePlan planned{
        store, {changelog_topic(application_id, options), id.partition}, starts_empty};
    if (source_is_changelog(*plan.graph, spec, defaults)) {
      planned.changelog.topic = spec.table_topic;
      planned.on_source =
          std::find(plan.inputs.begin(), plan.inputs.end(), planned.changelog) != plan.inputs.end();
      // A topic with fewer partitions has no rows for this task.
      if (!planned.on_source) planned = {store, {"", id.partition}, true};
      planned.read_only = true;
    }
    plan.stores.push_back(std::move(planned));
  }
  return plan;
}

}  // namespace millrace
