// SPDX-License-Identifier: Apache-2.0
#include "millrace/graph.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <sstream>

namespace millrace {
namespace {

// Store names become part of topic names: <application id>-<store>-changelog, at most 249
// characters in all.
constexpr std::size_t kStoreNameSizeMax = 100;

constexpr std::size_t kTopicNameSizeMax = 249;  // Kafka's.

bool valid_name(const std::string& name, std::size_t size_max) {
  const auto is_legal = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= size_max && std::ranges::all_of(name, is_legal);
}

// Throws for what no broker would accept.
void check_changelog(const std::string& store, const ChangelogOptions& changelog) {
  const std::string& topic = changelog.topic;
  if (!topic.empty() && (!valid_name(topic, kTopicNameSizeMax) || topic == "." || topic == "..")) {
    throw TopologyError("store '" + store + "': the changelog's name '" + topic +
                        "' must be 1 to " + std::to_string(kTopicNameSizeMax) +
                        " characters of [a-zA-Z0-9._-], not . or ..");
  }
  if (const auto replication = changelog.replication_factor;
      replication && *replication != -1 && (*replication < 1 || *replication > INT16_MAX)) {
    throw TopologyError("store '" + store + "': the changelog's replication factor " +
                        std::to_string(*replication) + " must be -1 (the broker's default) or " +
                        "from 1 to " + std::to_string(INT16_MAX));
  }
}

std::string numbered(std::string_view prefix, std::size_t number) {
  std::string digits = std::to_string(number);
  digits.insert(0, 10 - std::min<std::size_t>(10, digits.size()), '0');
  return std::string{prefix} + digits;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

const std::string& OperatorBuild::name() const { return graph_.nodes()[node_].name; }

void check_store_types(const StoreSpec& spec, const ValueOps& value, const KeyOps& key,
                       StoreKind kind) {
  if (spec.layout.kind() != kind) {
    throw StoreTypeError("store '" + spec.options.name() + "' is a " +
                         std::string{to_string(spec.layout.kind())} +
                         " store, but it was asked for as a " + std::string{to_string(kind)} +
                         " store; ask for it by the function of its kind");
  }
  if (*spec.value->type != *value.type || *spec.key->type != *key.type) {
    throw StoreTypeError("store '" + spec.options.name() +
                         "' has other key or value types than asked for");
  }
}

StateCache& OperatorBuild::store(std::size_t index) const {
  const auto& spec = graph_.stores()[graph_.nodes()[node_].stores[index]];
  return context_.store(spec.options.name(), *spec.value, *spec.key, spec.layout.kind());
}

const StoreOptions& OperatorBuild::store_options(std::size_t index) const {
  return graph_.stores()[graph_.nodes()[node_].stores[index]].options;
}

std::vector<ReactionSink> OperatorBuild::reactions() const {
  std::vector<ReactionSink> reactions;
  for (const auto& topic : graph_.nodes()[node_].reaction_topics)
    reactions.push_back({topic, sink_(topic)});
  return reactions;
}

std::vector<Operator*> OperatorBuild::child_operators() const {
  std::vector<Operator*> operators;
  for (const NodeIndex child : graph_.nodes()[node_].children)
    operators.push_back(made_[child].get());
  return operators;
}

NodeIndex Graph::add_node(Node node, std::string_view prefix) {
  if (frozen_) {
    throw TopologyError(
        "the topology is in use by an App or TestDriver and cannot change any more; build it "
        "first");
  }
  if (node.kind != NodeKind::kProcessor && node.topic.empty())
    throw TopologyError("a topic's name is empty");
  for (const auto& other : nodes_) {
    if (node.kind == NodeKind::kSource && other.kind == NodeKind::kSource &&
        other.topic == node.topic) {
      throw TopologyError(
          "topic '" + node.topic +
          "' is read by another stream or table already; keep that handle and use it twice");
    }
  }
  if (node.name.empty()) node.name = numbered(prefix, name_counter_++);
  const NodeIndex index = nodes_.size();
  for (const NodeIndex parent : node.parents) nodes_[parent].children.push_back(index);
  nodes_.push_back(std::move(node));
  return index;
}

std::size_t Graph::add_store(StoreSpec store) {
  const auto& name = store.options.name();
  if (frozen_)
    throw TopologyError("store '" + name + "': the topology is in use and cannot change any more");
  if (!valid_name(name, kStoreNameSizeMax)) {
    throw TopologyError("store name '" + name + "' is not 1 to " +
                        std::to_string(kStoreNameSizeMax) +
                        " characters of [a-zA-Z0-9._-]; it becomes part of the changelog's name");
  }
  if (store.options.changelog()) check_changelog(name, *store.options.changelog());
  if (find_store(name))
    throw TopologyError("there are two stores '" + name + "'; give each its own name");
  stores_.push_back(std::move(store));
  return stores_.size() - 1;
}

std::optional<std::size_t> Graph::find_store(const std::string& name) const {
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    if (stores_[i].options.name() == name) return i;
  }
  return std::nullopt;
}

void Graph::freeze() {
  if (frozen_) return;
  if (nodes_.empty())
    throw TopologyError("the topology is empty: read a topic with topology.stream(...)");
  subtopologies_ = connected_parts();
  for (std::size_t store = 0; store < stores_.size(); ++store) {
    const bool used =
        std::any_of(subtopologies_.begin(), subtopologies_.end(), [&](const Subtopology& part) {
          return std::find(part.stores.begin(), part.stores.end(), store) != part.stores.end();
        });
    if (!used) {
      throw TopologyError(
          "store '" + stores_[store].options.name() +
          "' is not connected to a processor; name it in connects(...) or leave it out");
    }
  }
  frozen_ = true;
}

// Nodes belong together if one feeds the other or if they share a store.
std::vector<Subtopology> Graph::connected_parts() const {
  std::vector<std::size_t> group(nodes_.size());
  std::iota(group.begin(), group.end(), std::size_t{0});
  const auto unite = [&](NodeIndex a, NodeIndex b) {
    const std::size_t from = std::max(group[a], group[b]);
    const std::size_t to = std::min(group[a], group[b]);
    std::replace(group.begin(), group.end(), from, to);
  };
  for (NodeIndex node = 0; node < nodes_.size(); ++node) {
    for (const NodeIndex child : nodes_[node].children) unite(node, child);
    for (NodeIndex other = 0; other < node; ++other) {
      for (const std::size_t store : nodes_[other].stores) {
        const auto& mine = nodes_[node].stores;
        if (std::find(mine.begin(), mine.end(), store) != mine.end()) unite(node, other);
      }
    }
  }

  std::vector<Subtopology> parts;
  for (const std::size_t id : std::set<std::size_t>(group.begin(), group.end())) {
    Subtopology part;
    std::set<std::string> sources;
    std::set<std::string> sinks;
    std::set<std::size_t> stores;
    for (NodeIndex node = 0; node < nodes_.size(); ++node) {
      if (group[node] != id) continue;
      part.nodes.push_back(node);
      if (nodes_[node].kind == NodeKind::kSource) sources.insert(nodes_[node].topic);
      if (nodes_[node].kind == NodeKind::kSink) sinks.insert(nodes_[node].topic);
      sinks.insert(nodes_[node].reaction_topics.begin(), nodes_[node].reaction_topics.end());
      stores.insert(nodes_[node].stores.begin(), nodes_[node].stores.end());
    }
    part.source_topics.assign(sources.begin(), sources.end());
    part.sink_topics.assign(sinks.begin(), sinks.end());
    part.stores.assign(stores.begin(), stores.end());
    parts.push_back(std::move(part));
  }
  return parts;
}

std::string Graph::describe() const {
  std::ostringstream out;
  out << "Topologies:\n";
  const auto names = [&](const std::vector<NodeIndex>& nodes) {
    std::vector<std::string> list;
    for (const NodeIndex node : nodes) list.push_back(nodes_[node].name);
    return list.empty() ? "none" : listed(list);
  };
  const auto parts = frozen_ ? subtopologies_ : connected_parts();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    out << "   Sub-topology: " << i << "\n";
    for (const NodeIndex index : parts[i].nodes) {
      const Node& node = nodes_[index];
      if (node.kind == NodeKind::kSource) {
        out << "    Source: " << node.name << " (topics: [" << node.topic << "])\n      --> "
            << names(node.children) << "\n";
        continue;
      }
      if (node.kind == NodeKind::kSink) {
        out << "    Sink: " << node.name << " (topic: " << node.topic << ")\n      <-- "
            << names(node.parents) << "\n";
        continue;
      }
      std::vector<std::string> stores;
      for (const std::size_t store : node.stores) stores.push_back(stores_[store].options.name());
      out << "    Processor: " << node.name << " (stores: [" << listed(stores) << "])\n      --> "
          << names(node.children) << "\n      <-- " << names(node.parents) << "\n";
      if (!node.reaction_topics.empty())
        out << "      reacts to: " << listed(node.reaction_topics) << "\n";
    }
    out << "\n";
  }
  return out.str();
}

}  // namespace millrace
