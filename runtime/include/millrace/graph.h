// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/config.h"
#include "millrace/context.h"
#include "millrace/record.h"
#include "millrace/store_options.h"

namespace millrace {

/// A node at work in one task. Made per task from the graph, used by one thread at a time.
class Operator {
 public:
  virtual ~Operator() = default;

  /// Called at each commit, upstream operators first: tables hand on what has changed since the
  /// last one.
  virtual void flush() {}
};

/// An operator that accepts records of these types.
template <class K, class V>
class Receiver {
 public:
  virtual void receive(const Record<K, V>& record) = 0;

 protected:
  ~Receiver() = default;
};

/// A record as it stands in an input partition. Borrowed from its batch.
struct RawRecord {
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  Timestamp timestamp;
  std::int64_t offset = 0;
  const HeaderSource* headers = nullptr;
};

/// The first operator of a path: decodes.
class SourceOperator : public Operator {
 public:
  /// Decodes `record` and hands it on. The Status says why it could not be decoded; nothing was
  /// handed on then.
  virtual Status receive(const RawRecord& record) = 0;
};

class Graph;

/// What the making of an operator may use.
class OperatorBuild {
 public:
  OperatorBuild(const Graph& graph, NodeIndex node, TaskContext& context,
                const std::vector<std::unique_ptr<Operator>>& made,
                std::function<TaskContext::SinkIndex(const std::string&)> sink,
                bool forward_at_commit)
      : graph_(graph),
        node_(node),
        context_(context),
        made_(made),
        sink_(std::move(sink)),
        forward_at_commit_(forward_at_commit) {}

  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] NodeIndex node() const { return node_; }
  [[nodiscard]] TaskContext& context() const { return context_; }

  /// The node's `index`-th store.
  [[nodiscard]] StateCache& store(std::size_t index) const;
  [[nodiscard]] const StoreOptions& store_options(std::size_t index) const;
  /// Whether the task's tables hand on at commits (the state cache is on).
  [[nodiscard]] bool forward_at_commit() const { return forward_at_commit_; }

  [[nodiscard]] TaskContext::SinkIndex sink(const std::string& topic) const { return sink_(topic); }
  [[nodiscard]] std::vector<ReactionSink> reactions() const;

  /// The operators behind this one. They accept K and V: the typed handles saw to that.
  template <class K, class V>
  [[nodiscard]] std::vector<Receiver<K, V>*> children() const {
    std::vector<Receiver<K, V>*> receivers;
    for (Operator* child : child_operators())
      receivers.push_back(&dynamic_cast<Receiver<K, V>&>(*child));
    return receivers;
  }

 private:
  [[nodiscard]] std::vector<Operator*> child_operators() const;

  const Graph& graph_;
  NodeIndex node_;
  TaskContext& context_;
  const std::vector<std::unique_ptr<Operator>>& made_;
  std::function<TaskContext::SinkIndex(const std::string&)> sink_;
  bool forward_at_commit_;
};

using MakeOperator = std::function<std::unique_ptr<Operator>(const OperatorBuild&)>;

enum class NodeKind : std::uint8_t { kSource, kProcessor, kSink };

/// What the topology says of one operator.
struct Node {
  std::string name;
  NodeKind kind = NodeKind::kProcessor;
  std::string topic;  ///< Of sources and sinks.
  std::vector<NodeIndex> parents;
  std::vector<NodeIndex> children;
  std::vector<std::size_t> stores;  ///< Places in Graph::stores().
  std::vector<std::string> reaction_topics;
  /// Records leave with the key bytes they came with, so keys can be prefetched from the raw input.
  bool keeps_key = false;
  /// The store that the operator looks its record's key up in, if it does: a place in `stores`.
  std::optional<std::size_t> keyed_store;
  SourceOptions source;  ///< Of sources.
  MakeOperator make;
};

/// What the topology says of one store.
struct StoreSpec {
  StoreOptions options;
  const ValueOps* value;
  const KeyOps* key;
  KeyLayout layout;
  /// Of a table: the topic that holds its rows, key bytes as the store has them. Empty otherwise.
  std::string table_topic = {};
};

/// The layouts of the store kinds. They throw TopologyError, naming the store, for what is missing
/// or out of bounds.
[[nodiscard]] KeyLayout layout_of(const StoreOptions& store);
[[nodiscard]] KeyLayout layout_of(const StoreOptions& store, const WindowStoreOptions& options);
[[nodiscard]] KeyLayout layout_of(const StoreOptions& store, const SessionStoreOptions& options);
[[nodiscard]] KeyLayout layout_of(const StoreOptions& store, const VersionedStoreOptions& options);

/// Throws StoreTypeError unless `spec` is of that kind and those types.
void check_store_types(const StoreSpec& spec, const ValueOps& value, const KeyOps& key,
                       StoreKind kind);

/// A connected part of the graph: one task per partition of its inputs.
struct Subtopology {
  std::vector<NodeIndex> nodes;            ///< Parents first.
  std::vector<std::string> source_topics;  ///< In byte order.
  std::vector<std::size_t> stores;
  std::vector<std::string> sink_topics;  ///< Sinks and reactions, in byte order.
};

/// The topology as data: nodes, stores, who feeds whom. Built by the typed handles, frozen by the
/// first App or TestDriver.
class Graph {
 public:
  /// Adds a node behind `node.parents`. An empty name becomes `prefix` and a number. Throws
  /// TopologyError.
  NodeIndex add_node(Node node, std::string_view prefix);
  /// Adds a store; its place. Throws TopologyError for a bad or duplicate name.
  std::size_t add_store(StoreSpec store);
  [[nodiscard]] std::optional<std::size_t> find_store(const std::string& name) const;

  [[nodiscard]] const std::vector<Node>& nodes() const { return nodes_; }
  [[nodiscard]] const std::vector<StoreSpec>& stores() const { return stores_; }

  /// From here on the graph does not change. Throws TopologyError if it cannot run.
  void freeze();
  [[nodiscard]] const std::vector<Subtopology>& subtopologies() const { return subtopologies_; }

  /// The text form of Kafka Streams' Topology#describe.
  [[nodiscard]] std::string describe() const;

 private:
  [[nodiscard]] std::vector<Subtopology> connected_parts() const;

  std::vector<Node> nodes_;
  std::vector<StoreSpec> stores_;
  std::vector<Subtopology> subtopologies_;
  std::size_t name_counter_ = 0;
  bool frozen_ = false;
};

}  // namespace millrace
