// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "millrace/aggregates.h"
#include "millrace/processor.h"

namespace millrace {

/// The topics a reducer or processor may react to.
struct ReactionTopics {
  std::vector<std::string> names;
};

/// Lists reaction topics: `reacts_to(alerts, audit)`.
template <class... T>
[[nodiscard]] ReactionTopics reacts_to(const T&... topics) {
  return {{topics.name()...}};
}

/// The stores a processor uses: `connects("counts", "names")`.
struct ConnectedStores {
  std::vector<std::string> names;
};
template <class... Name>
[[nodiscard]] ConnectedStores connects(Name&&... names) {
  return {{std::string(std::forward<Name>(names))...}};
}

/// What a reducer does with a record whose value is null.
enum class NullValue : std::uint8_t {
  kDrop,       ///< Dropped and counted.
  kDeleteKey,  ///< Deletes the key's state, as a tombstone does in a table.
};
[[nodiscard]] constexpr NullValue on_null_value(NullValue what) { return what; }
inline constexpr NullValue delete_key = NullValue::kDeleteKey;

template <class K, class V>
class KTable;
template <class K, class V>
class KGroupedStream;

/// A stream of records: each is an event of its own. A copyable handle on a node of the topology.
///
/// Functions may take the `const Record<K, V>&`, the `const V&`, or be a member of V; those of the
/// bare value are not called for null values, which pass on. Each task has its own copy of every
/// function, called by one thread at a time.
template <class K, class V>
class KStream {
 public:
  KStream(std::shared_ptr<Graph> graph, NodeIndex node, bool key_changed)
      : graph_(std::move(graph)), node_(node), key_changed_(key_changed) {}

  /// Keeps the records for which `predicate` is true.
  template <class F>
  [[nodiscard]] KStream filter(F predicate) const {
    check_function<F>();
    return KStream{graph_,
                   add<detail::Filter<K, V, F>>("KSTREAM-FILTER-", true, std::move(predicate)),
                   key_changed_};
  }

  /// Replaces each value; the key stays.
  template <class F>
  [[nodiscard]] auto map_values(F function) const {
    check_function<F>();
    using V2 = detail::CallResult<F, K, V>;
    return KStream<K, V2>{
        graph_,
        add<detail::MapValues<K, V, V2, F>>("KSTREAM-MAPVALUES-", true, std::move(function)),
        key_changed_};
  }

  /// Makes any number of records of each: `function` returns a range of pairs of key and value.
  /// Records with a null value make none where the function takes the bare value.
  template <class F>
  [[nodiscard]] auto flat_map(F function) const {
    check_function<F>();
    using Pair =
        std::remove_cvref_t<decltype(*std::begin(std::declval<detail::CallResult<F, K, V>&>()))>;
    using K2 = std::tuple_element_t<0, Pair>;
    using V2 = std::tuple_element_t<1, Pair>;
    return KStream<K2, V2>{
        graph_,
        add<detail::FlatMap<K, V, K2, V2, F>>("KSTREAM-FLATMAP-", false, std::move(function)),
        true};
  }

  /// Looks at each record and passes it on.
  template <class F>
  KStream peek(F function) const {
    check_function<F>();
    return KStream{graph_, add<detail::Peek<K, V, F>>("KSTREAM-PEEK-", true, std::move(function)),
                   key_changed_};
  }

  /// Groups by the present key, for count, reduce and aggregate. Throws TopologyError after an
  /// operator that changes the key: write to a topic and read it again, so that equal keys meet in
  /// one partition.
  [[nodiscard]] KGroupedStream<K, V> group_by_key() const {
    check_key("group_by_key");
    return {graph_, node_};
  }

  /// K-state's reducer: `function(record, std::optional<S> state, context)` returns the next state,
  /// or an empty optional that deletes the key. The first call for a key sees no state. Reactions
  /// go to the topics of `reacts_to(...)`. Records without key are dropped and counted, those
  /// without value too unless `on_null_value(delete_key)`.
  template <class S, class F>
  KTable<K, S> reduce(const StoreOptions& store, F function, const ReactionTopics& reactions = {},
                      NullValue null_value = NullValue::kDrop) const {
    static_assert(std::invocable<const F&, const Record<K, V>&, std::optional<S>, Context&>,
                  "a reducer is called as f(const Record<K, V>&, std::optional<State>, Context&) "
                  "and returns the next "
                  "State or std::optional<State>");
    check_key("reduce");
    Node node;
    node.parents = {node_};
    node.stores = {graph_->add_store({store, &value_ops<S>(), &key_ops<K>(), layout_of(store)})};
    node.keyed_store = detail::kCanonicalSerde<K> ? std::optional<std::size_t>{0} : std::nullopt;
    node.reaction_topics = reactions.names;
    node.make = [function, null_value](const OperatorBuild& build) -> std::unique_ptr<Operator> {
      return std::make_unique<detail::Reducer<K, V, S, F>>(build, function,
                                                           null_value == NullValue::kDeleteKey);
    };
    return {graph_, graph_->add_node(std::move(node), "KSTREAM-REDUCE-")};
  }

  /// Runs a processor: `process<Unpaid>()`, `process<Unpaid>(connects("orders"), reacts_to(alerts),
  /// arguments...)`.
  template <class P, class... Arguments>
  auto process(const ConnectedStores& stores = {}, const ReactionTopics& reactions = {},
               Arguments... arguments) const {
    static_assert(
        std::is_base_of_v<Processor<K, V, typename P::OutputKey, typename P::OutputValue>, P>,
        "process<P> needs a P derived from Processor<K, V, ...> with the stream's key and value "
        "types");
    Node node;
    node.parents = {node_};
    node.reaction_topics = reactions.names;
    for (const auto& name : stores.names) {
      const auto place = graph_->find_store(name);
      if (!place)
        throw TopologyError("process: there is no store '" + name +
                            "'; add it with topology.store() first");
      node.stores.push_back(*place);
    }
    node.make = [arguments...](const OperatorBuild& build) -> std::unique_ptr<Operator> {
      return std::make_unique<detail::Process<P>>(build, std::make_unique<P>(arguments...));
    };
    return KStream<typename P::OutputKey, typename P::OutputValue>{
        graph_, graph_->add_node(std::move(node), "KSTREAM-PROCESSOR-"), true};
  }

  /// Writes the records to a topic, partitioned by key as Java's producers do.
  void to(const Topic<K, V>& topic) const {
    Node node;
    node.kind = NodeKind::kSink;
    node.topic = topic.name();
    node.parents = {node_};
    node.make = [name = topic.name()](const OperatorBuild& build) -> std::unique_ptr<Operator> {
      return std::make_unique<detail::SinkTo<K, V>>(build, name);
    };
    graph_->add_node(std::move(node), "KSTREAM-SINK-");
  }

 private:
  template <class F>
  static constexpr void check_function() {
    static_assert(
        detail::RecordOrValueFunction<F, K, V>,
        "the function is called as f(const Record<K, V>&) or f(const V&), or is a member of V");
  }

  void check_key(const std::string& what) const {
    if (!key_changed_) return;
    throw TopologyError(
        what + " after an operator that changes the key (" + graph_->nodes()[node_].name +
        "): equal keys would be in different partitions; write the stream to a topic with to() and "
        "read that topic");
  }

  template <class Made, class F>
  NodeIndex add(std::string_view prefix, bool keeps_key, F function) const {
    Node node;
    node.parents = {node_};
    node.keeps_key = keeps_key;
    node.make = [function =
                     std::move(function)](const OperatorBuild& build) -> std::unique_ptr<Operator> {
      return std::make_unique<Made>(build, function);
    };
    return graph_->add_node(std::move(node), prefix);
  }

  std::shared_ptr<Graph> graph_;
  NodeIndex node_;
  bool key_changed_;
};

/// A changelog of keys: each record is the newest value of its key, a null value a deletion. A
/// copyable handle.
template <class K, class V>
class KTable {
 public:
  KTable(std::shared_ptr<Graph> graph, NodeIndex node) : graph_(std::move(graph)), node_(node) {}

  /// The table's updates as a stream: the last one per key at each commit, in order of first
  /// change, or every one if the store says `forward_every_update()` or the state cache has 0
  /// bytes. A null value says that the key is gone.
  [[nodiscard]] KStream<K, V> to_stream() const {
    Node node;
    node.parents = {node_};
    node.keeps_key = true;
    node.make = [](const OperatorBuild& build) -> std::unique_ptr<Operator> {
      return std::make_unique<detail::PassOn<K, V>>(build);
    };
    return {graph_, graph_->add_node(std::move(node), "KTABLE-TOSTREAM-"), false};
  }

 private:
  std::shared_ptr<Graph> graph_;
  NodeIndex node_;
};

/// A stream grouped by key. Records without key or value are dropped and counted.
template <class K, class V>
class KGroupedStream {
 public:
  KGroupedStream(std::shared_ptr<Graph> graph, NodeIndex node)
      : graph_(std::move(graph)), node_(node) {}

  /// The number of records per key.
  KTable<K, std::int64_t> count(const StoreOptions& store) const {
    return table<std::int64_t>(store, "KSTREAM-AGGREGATE-",
                               [](const OperatorBuild& build) -> std::unique_ptr<Operator> {
                                 return std::make_unique<detail::Count<K, V>>(build);
                               });
  }

  /// Kafka Streams' reduce: `function(V so_far, V value)` -> V; the first value of a key is its
  /// first result.
  template <class F>
  KTable<K, V> reduce(const StoreOptions& store, F function) const {
    static_assert(std::is_invocable_r_v<V, const F&, const V&, const V&>,
                  "reduce calls f(const V& so_far, const V& value) and needs a V");
    return table<V>(store, "KSTREAM-REDUCE-",
                    [function](const OperatorBuild& build) -> std::unique_ptr<Operator> {
                      return std::make_unique<detail::ReduceValues<K, V, F>>(build, function);
                    });
  }

  /// `function(A& aggregate, const Record<K, V>& record)` changes the aggregate in place; it begins
  /// as `initial`.
  template <class A, class F>
  KTable<K, A> aggregate(const StoreOptions& store, A initial, F function) const {
    static_assert(std::invocable<const F&, A&, const Record<K, V>&>,
                  "aggregate calls f(Aggregate&, const Record<K, V>&)");
    return table<A>(store, "KSTREAM-AGGREGATE-",
                    [initial = std::move(initial),
                     function](const OperatorBuild& build) -> std::unique_ptr<Operator> {
                      return std::make_unique<detail::Aggregate<K, V, A, F>>(build, initial,
                                                                             function);
                    });
  }

  /// The same, beginning with a value-initialised A.
  template <class A, class F>
  KTable<K, A> aggregate(const StoreOptions& store, F function) const {
    return aggregate<A, F>(store, A{}, std::move(function));
  }

 private:
  template <class A>
  KTable<K, A> table(const StoreOptions& store, std::string_view prefix, MakeOperator make) const {
    Node node;
    node.parents = {node_};
    node.stores = {graph_->add_store({store, &value_ops<A>(), &key_ops<K>(), layout_of(store)})};
    node.keyed_store = detail::kCanonicalSerde<K> ? std::optional<std::size_t>{0} : std::nullopt;
    node.make = std::move(make);
    return {graph_, graph_->add_node(std::move(node), prefix)};
  }

  std::shared_ptr<Graph> graph_;
  NodeIndex node_;
};

}  // namespace millrace
