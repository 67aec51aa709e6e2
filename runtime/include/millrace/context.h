// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/key_layout.h"
#include "millrace/key_value_store.h"
#include "millrace/record.h"
#include "millrace/serde.h"
#include "millrace/session_store.h"
#include "millrace/time.h"
#include "millrace/topic.h"
#include "millrace/versioned_store.h"
#include "millrace/window_store.h"

namespace millrace {

/// Why a record went no further. Label `reason` of millrace_records_dropped_total.
enum class DropReason : std::uint8_t {
  kNullKey,
  kNullValue,
  kDecodeError,
  kUserError,
  kExpired,
  kProduceError,
};

/// An operator's place in the graph.
using NodeIndex = std::size_t;

/// What a task offers its operators. Implemented by Task; operators and Context are its only users.
class TaskContext {
 public:
  using SinkIndex = std::uint32_t;

  virtual ~TaskContext() = default;

  [[nodiscard]] virtual const Origin& origin() const = 0;
  [[nodiscard]] virtual const std::string& task_id() const = 0;
  [[nodiscard]] virtual Timestamp stream_time() const = 0;
  [[nodiscard]] virtual Timestamp wall_time() const = 0;

  /// Sends one record. The partition is chosen by the key as Java's default partitioner does; the
  /// bytes are copied.
  virtual void send(SinkIndex sink, std::optional<std::string_view> key,
                    std::optional<std::string_view> value, Timestamp timestamp,
                    const HeaderSource* headers) = 0;

  virtual void drop(DropReason reason) = 0;

  /// Calls `forward`, which hands on a change of the table `node` while a commit is prepared: no
  /// record is in hand. If operators behind the table fail, the change goes no further, by the
  /// error policy of the source that feeds the table; the table keeps it.
  virtual void hand_on(NodeIndex node, StateCache& store, const StateEntry& entry,
                       const std::function<void()>& forward) = 0;

  /// A store connected to the operator in the topology; throws UnknownStoreError or StoreTypeError.
  virtual StateCache& store(const std::string& name, const ValueOps& value, const KeyOps& key,
                            StoreKind kind) = 0;
};

/// A reaction topic with its place among the task's sinks.
struct ReactionSink {
  std::string topic;
  TaskContext::SinkIndex sink;
};

/// What user functions learn about the record in hand, and the ways out for reactions.
///
/// Belongs to the task's thread and to the call it was passed to: do not keep it.
class Context {
 public:
  Context(TaskContext& task, const std::string& operator_name,
          const std::vector<ReactionSink>& reactions)
      : task_(&task), operator_name_(&operator_name), reactions_(&reactions) {}

  /// Topic, partition and offset of the input record.
  [[nodiscard]] std::string_view topic() const { return task_->origin().topic; }
  [[nodiscard]] std::int32_t partition() const { return task_->origin().partition; }
  [[nodiscard]] std::int64_t offset() const { return task_->origin().offset; }
  /// Event time of the record in hand.
  [[nodiscard]] Timestamp timestamp() const { return timestamp_; }
  /// Headers of the input record.
  [[nodiscard]] Headers headers() const {
    return headers_ != nullptr ? headers_->headers() : Headers{};
  }
  /// Subtopology and partition, such as "0_3".
  [[nodiscard]] const std::string& task_id() const { return task_->task_id(); }
  /// The highest event time the task has seen.
  [[nodiscard]] Timestamp stream_time() const { return task_->stream_time(); }
  [[nodiscard]] Timestamp wall_time() const { return task_->wall_time(); }

  /// Sends a reaction. The topic must be among the operator's `reacts_to(...)`:
  /// SinkTopicNotFoundError otherwise. The record's timestamp is that of the record in hand.
  template <class K, class V>
  void react(const Topic<K, V>& topic, const K& key, const V& value) {
    key_bytes_.clear();
    value_bytes_.clear();
    Serde<K>::encode(key, key_bytes_);
    Serde<V>::encode(value, value_bytes_);
    task_->send(reaction_sink(topic.name()), key_bytes_, value_bytes_, timestamp_, headers_);
  }

  /// A store that the operator was connected to. Throws UnknownStoreError or StoreTypeError.
  template <Serializable K, Serializable V>
  [[nodiscard]] KeyValueStore<K, V> store(const std::string& name) {
    return {task_->store(name, value_ops<V>(), key_ops<K>(), StoreKind::kKeyValue),
            [this] { return timestamp_; }};
  }

  /// The same for the other kinds of stores. StoreTypeError also if the store is of another kind.
  template <Serializable K, Serializable V>
  [[nodiscard]] WindowStore<K, V> window_store(const std::string& name) {
    // Duplicates are numbered by the record's offset, as the first of which Kafka Streams counts 1:
    // a number that a restart does not give to another record.
    return {task_->store(name, value_ops<V>(), key_ops<K>(), StoreKind::kWindow),
            [this] { return timestamp_; }, [this] { return offset() + 1; }};
  }
  template <Serializable K, Serializable A>
  [[nodiscard]] SessionStore<K, A> session_store(const std::string& name) {
    return {task_->store(name, value_ops<A>(), key_ops<K>(), StoreKind::kSession),
            [this] { return timestamp_; }};
  }
  template <Serializable K, Serializable V>
  [[nodiscard]] VersionedStore<K, V> versioned_store(const std::string& name) {
    return VersionedStore<K, V>{
        task_->store(name, value_ops<detail::Version<V>>(), key_ops<K>(), StoreKind::kVersioned)};
  }

  // For operators: the record that the next calls are about.
  void set_record(Timestamp timestamp, const HeaderSource* headers) {
    timestamp_ = timestamp;
    headers_ = headers;
  }

 protected:
  [[nodiscard]] TaskContext& task() { return *task_; }
  [[nodiscard]] const HeaderSource* header_source() const { return headers_; }

 private:
  [[nodiscard]] TaskContext::SinkIndex reaction_sink(const std::string& topic) const;

  TaskContext* task_;
  const std::string* operator_name_;
  const std::vector<ReactionSink>* reactions_;
  Timestamp timestamp_{};
  const HeaderSource* headers_ = nullptr;
  std::string key_bytes_;
  std::string value_bytes_;
};

}  // namespace millrace
