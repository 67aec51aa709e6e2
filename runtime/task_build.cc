// SPDX-License-Identifier: Apache-2.0
//
// How a task is made of its plan.
#include <algorithm>

#include "runtime/task.h"

namespace millrace {
namespace {

// Stores that are looked up with the very key bytes of the source's records.
void collect_keyed_stores(const Graph& graph, NodeIndex node, std::vector<std::size_t>& stores) {
  for (const NodeIndex child : graph.nodes()[node].children) {
    const Node& next = graph.nodes()[child];
    if (next.keyed_store) stores.push_back(next.stores[*next.keyed_store]);
    if (next.keeps_key) collect_keyed_stores(graph, child, stores);
  }
}

std::string read_only(const StoreSpec& table) {
  return "store '" + table.options.name() + "' is the table of topic '" + table.table_topic +
         "', which is its changelog, too: what others write to the store would be lost; write to "
         "the topic, or give the table a changelog of its own (StoreOptions::changelog)";
}

}  // namespace

Result<std::unique_ptr<Task>> Task::create(TaskPlan plan, TaskEngines engines, TaskStart start,
                                           Sink& sink, const Clock& clock, TaskSettings settings,
                                           CacheBudget& budget, metrics::Registry& registry) {
  std::unique_ptr<Task> task{new Task(std::move(plan), std::move(engines), std::move(start), sink,
                                      clock, std::move(settings), budget, registry)};
  if (auto status = task->build(); !status.ok()) return status;
  return task;
}

Task::Task(TaskPlan plan, TaskEngines engines, TaskStart start, Sink& sink, const Clock& clock,
           TaskSettings settings, CacheBudget& budget, metrics::Registry& registry)
    : plan_(std::move(plan)),
      id_text_(to_string(plan_.id)),
      engines_(std::move(engines)),
      sink_(sink),
      clock_(clock),
      settings_(std::move(settings)),
      metrics_(registry, plan_),
      point_(std::move(start.point)),
      acks_(sink.new_tracker()),
      checkpointed_at_(clock.elapsed()) {
  for (std::size_t i = 0; i < plan_.stores.size(); ++i) {
    const auto& place = engines_.places()[i];
    const auto& spec = plan_.graph->stores()[plan_.stores[i].store];
    stores_.push_back(
        {std::make_unique<StateCache>(*place.engine, place.index, *spec.value, budget, spec.layout),
         0, start.stores[i].examined_end});
    if (plan_.stores[i].read_only) stores_.back().cache->write_protect(read_only(spec));
    tails_.push_back(std::move(start.stores[i].tail_keys));
    if (spec.layout.needs_passes()) swept_stores_.push_back(stores_.back().cache.get());
  }
}

Task::~Task() = default;

Status Task::build() {
  const Graph& graph = *plan_.graph;
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    if (!plan_.stores[i].writes_changelog()) continue;
    auto changelog = sink_.topic(plan_.stores[i].changelog.topic);
    if (!changelog) return changelog.error();
    stores_[i].changelog = changelog->id;
  }
  for (const auto& topic : plan_.subtopology().sink_topics) {
    const auto output = add_output(topic);
    if (!output) return output.error();
    auto& names = outputs_[*output].operators;
    for (const NodeIndex node : plan_.subtopology().nodes) {
      const Node& spec = graph.nodes()[node];
      const bool writes = spec.kind == NodeKind::kSink
                              ? spec.topic == topic
                              : std::ranges::count(spec.reaction_topics, topic) > 0;
      if (writes) names += (names.empty() ? "" : ", ") + spec.name;
    }
  }
  const auto sink_index = [this](const std::string& topic) {
    const auto found = std::find_if(outputs_.begin(), outputs_.end(),
                                    [&](const auto& o) { return o.topic == topic; });
    return static_cast<SinkIndex>(found - outputs_.begin());
  };
  // Children are made first, so that parents can hold on to them.
  operators_.resize(graph.nodes().size());
  const auto& nodes = plan_.subtopology().nodes;
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    const OperatorBuild build{graph,      *node,      *this,
                              operators_, sink_index, settings_.forward_at_commit};
    operators_[*node] = graph.nodes()[*node].make(build);
  }

  for (const auto& partition : plan_.inputs) {
    Input input;
    input.index = inputs_.size();
    input.partition = partition;
    for (const NodeIndex node : nodes) {
      const Node& spec = graph.nodes()[node];
      if (spec.kind != NodeKind::kSource || spec.topic != partition.topic) continue;
      input.source = &dynamic_cast<SourceOperator&>(*operators_[node]);
      input.source_name = spec.name;
      input.errors = rules_of(spec.source, settings_.errors);
      if (input.errors.may_dead_letter()) {
        auto output = add_output(input.errors.dead_letter_topic);
        if (!output) return output.error();
        input.dead_letters = *output;
      }
      std::vector<std::size_t> keyed;
      collect_keyed_stores(graph, node, keyed);
      for (std::size_t i = 0; i < plan_.stores.size(); ++i) {
        if (std::find(keyed.begin(), keyed.end(), plan_.stores[i].store) != keyed.end())
          input.keyed_stores.push_back(i);
      }
    }
    may_skip_ = may_skip_ || input.errors.may_undo();
    input.position = point_.sources.at(partition.topic);
    if (const auto time = point_.partition_times.find(partition.topic);
        time != point_.partition_times.end()) {
      input.partition_time = time->second;
      input.has_time = true;
      stream_time_ = std::max(stream_time_, time->second);
    }
    inputs_.push_back(std::move(input));
  }
  return {};
}

Result<Task::SinkIndex> Task::add_output(const std::string& topic) {
  const auto known = std::find_if(outputs_.begin(), outputs_.end(),
                                  [&](const Output& output) { return output.topic == topic; });
  if (known != outputs_.end()) return static_cast<SinkIndex>(known - outputs_.begin());
  auto target = sink_.topic(topic);
  if (!target) return target.error();
  outputs_.push_back({topic, *target, &metrics_.produced(topic)});
  return static_cast<SinkIndex>(outputs_.size() - 1);
}

}  // namespace millrace
