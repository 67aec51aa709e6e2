// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "millrace/stream.h"
#include "millrace/topic.h"

namespace millrace {

/// What an application computes: streams from topics, operators, tables, topics written. Copies
/// share one graph, which the first App or TestDriver freezes.
class Topology {
 public:
  Topology() : graph_(std::make_shared<Graph>()) {}

  /// The records of a topic. Throws TopologyError if the topic is read already: use the first
  /// handle twice.
  template <class K, class V>
  KStream<K, V> stream(const Topic<K, V>& topic, SourceOptions options = {}) {
    return {graph_, source(topic, std::move(options)), false};
  }

  /// The table that a topic holds: each record is the newest value of its key, a null value deletes
  /// it. Records without key are dropped and counted. Records count in the order of their offsets:
  /// a later one with an earlier timestamp overwrites, too.
  ///
  /// The topic itself is the changelog: nothing is written, a restore reads the topic up to the
  /// committed offset. So it should be compacted (cleanup.policy=compact); rows whose records the
  /// broker has deleted, or compacted away for a newer one that is not processed yet, are missing
  /// after a restore. Where `auto_offset_reset` is latest, the rows that are there are loaded and
  /// not handed on. Processors may read the store (`connects`), not write to it.
  ///
  /// The store has a changelog of its own, where what it holds is not what the topic says: with a
  /// time to live, with a policy that skips records (of the source or of the configuration), with a
  /// key type whose encoding is not unique (JSON), and by `StoreOptions::changelog`.
  ///
  /// Throws TopologyError if the topic is read already, and as `store` does.
  template <class K, class V>
  KTable<K, V> table(const Topic<K, V>& topic, const StoreOptions& store,
                     SourceOptions options = {}) {
    StoreSpec spec{store, &value_ops<V>(), &key_ops<K>(), layout_of(store)};
    if (detail::kCanonicalSerde<K>) spec.table_topic = topic.name();
    Node node;
    node.parents = {source(topic, std::move(options))};
    node.stores = {graph_->add_store(std::move(spec))};
    node.keyed_store = detail::kCanonicalSerde<K> ? std::optional<std::size_t>{0} : std::nullopt;
    node.make = [](const OperatorBuild& build) -> std::unique_ptr<Operator> {
      return std::make_unique<detail::TableSource<K, V>>(build);
    };
    return {graph_, graph_->add_node(std::move(node), "KTABLE-SOURCE-")};
  }

  /// A key-value store for processors, which name it in `connects(...)`. Throws TopologyError for a
  /// time to live that is out of bounds.
  template <Serializable K, Serializable V>
  Topology& store(const StoreOptions& options) {
    graph_->add_store({options, &value_ops<V>(), &key_ops<K>(), layout_of(options)});
    return *this;
  }

  /// A window store for processors, which name it in `connects(...)`. Throws TopologyError if size
  /// or retention are missing or the retention is shorter than a window.
  template <Serializable K, Serializable V>
  Topology& window_store(const StoreOptions& store, const WindowStoreOptions& options) {
    graph_->add_store({store, &value_ops<V>(), &key_ops<K>(), layout_of(store, options)});
    return *this;
  }

  /// A session store for processors. Throws TopologyError if the retention is missing.
  template <Serializable K, Serializable A>
  Topology& session_store(const StoreOptions& store, const SessionStoreOptions& options) {
    graph_->add_store({store, &value_ops<A>(), &key_ops<K>(), layout_of(store, options)});
    return *this;
  }

  /// A versioned store for processors. Throws TopologyError if the history's length is missing.
  template <Serializable K, Serializable V>
  Topology& versioned_store(const StoreOptions& store, const VersionedStoreOptions& options) {
    graph_->add_store(
        {store, &value_ops<detail::Version<V>>(), &key_ops<K>(), layout_of(store, options)});
    return *this;
  }

  /// Sub-topologies, operators, stores and topics, as Kafka Streams' Topology#describe prints them.
  [[nodiscard]] std::string describe() const { return graph_->describe(); }

  [[nodiscard]] const std::shared_ptr<Graph>& graph() const { return graph_; }

 private:
  template <class K, class V>
  NodeIndex source(const Topic<K, V>& topic, SourceOptions options) {
    Node node;
    node.kind = NodeKind::kSource;
    node.topic = topic.name();
    node.keeps_key = true;
    node.source = std::move(options);
    node.make = [](const OperatorBuild& build) -> std::unique_ptr<Operator> {
      return std::make_unique<detail::Source<K, V>>(build);
    };
    return graph_->add_node(std::move(node), "KSTREAM-SOURCE-");
  }

  std::shared_ptr<Graph> graph_;
};

}  // namespace millrace
