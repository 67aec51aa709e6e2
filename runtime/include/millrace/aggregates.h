// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "millrace/operators.h"

/// The operators behind the DSL that keep a table. Users meet them through `millrace/stream.h`.
namespace millrace::detail {

/// What count, reduce and aggregate share: a store from K to A whose changes become a stream of
/// updates.
template <class K, class V, class A>
class TableOperator : public Operator, public Receiver<K, V> {
 public:
  explicit TableOperator(const OperatorBuild& build)
      : name_(build.name()),
        node_(build.node()),
        context_(build.context()),
        store_(build.store(0)),
        outputs_(build),
        forward_at_commit_(build.forward_at_commit() &&
                           !build.store_options(0).forwards_every_update()) {}

  /// Hands on the latest value of each key changed since the last commit, in order of first change;
  /// if each update was handed on at once, what has expired since, which was no record's doing.
  void flush() final {
    if (outputs_.empty() || (!forward_at_commit_ && !store_.layout().has_ttl())) return;
    // Operators behind the table may change its store meanwhile: that is logged, but not handed on.
    const std::size_t changed = store_.dirty().size();
    for (std::size_t i = 0; i < changed; ++i) {
      const StateEntry& entry = *store_.dirty()[i];
      if (!forward_at_commit_ && !entry.expired()) continue;
      context_.hand_on(node_, store_, entry, [this, &entry] { forward(entry); });
    }
  }

 protected:
  /// The entry of the record's key. Null if the record cannot be counted in, which is noted.
  StateEntry* entry_of(const Record<K, V>& record) {
    if (!record.has_key()) {
      context_.drop(DropReason::kNullKey);
      return nullptr;
    }
    if (!record.key_bytes().empty()) return &store_.load(record.key_bytes());
    key_bytes_.clear();
    Serde<K>::encode(record.key(), key_bytes_);
    return &store_.load(key_bytes_);
  }

  /// The entry, for operators that have no use for a null value either.
  StateEntry* entry_of_value(const Record<K, V>& record) {
    if (record.has_key() && !record.has_value()) {
      context_.drop(DropReason::kNullValue);
      return nullptr;
    }
    return entry_of(record);
  }

  /// An aggregate is as new as the newest record in it.
  static Timestamp newest(const StateEntry& entry, const Record<K, V>& record) {
    return entry.present() ? std::max(entry.timestamp(), record.timestamp()) : record.timestamp();
  }

  void updated(const StateEntry& entry) {
    if (!forward_at_commit_) forward(entry);
  }

  [[nodiscard]] bool forwards_every_update() const { return !forward_at_commit_; }

  const std::string& name() const { return name_; }
  StateCache& store() { return store_; }

 private:
  void forward(const StateEntry& entry) {
    const auto key = Serde<K>::decode(entry.key());
    if (!key)
      throw StoreFailure(
          Status::internal("a stored key cannot be decoded: " + key.error().message()));
    const A* value = entry.present() ? static_cast<const A*>(entry.value()) : nullptr;
    outputs_.forward({&*key, value, entry.timestamp(), nullptr, entry.key()});
  }

  const std::string name_;
  const NodeIndex node_;
  TaskContext& context_;
  StateCache& store_;
  Outputs<K, A> outputs_;
  const bool forward_at_commit_;
  std::string key_bytes_;
};

/// The rows of a topic: a record is the newest value of its key, in the order of offsets. As in
/// Kafka Streams a deletion of what is not there is handed on where each update is.
template <class K, class V>
class TableSource final : public TableOperator<K, V, V> {
 public:
  using TableOperator<K, V, V>::TableOperator;

  void receive(const Record<K, V>& record) override {
    StateEntry* entry = this->entry_of(record);
    if (entry == nullptr) return;
    if (record.has_value()) {
      V value = record.value();  // What may throw comes first.
      std::construct_at(static_cast<V*>(this->store().replace(*entry, record.timestamp())),
                        std::move(value));
    } else if (entry->present() || this->forwards_every_update()) {
      this->store().erase(*entry, record.timestamp());
    } else {
      return;
    }
    this->updated(*entry);
  }
};

template <class K, class V>
class Count final : public TableOperator<K, V, std::int64_t> {
 public:
  using TableOperator<K, V, std::int64_t>::TableOperator;

  void receive(const Record<K, V>& record) override {
    StateEntry* entry = this->entry_of_value(record);
    if (entry == nullptr) return;
    const Timestamp timestamp = this->newest(*entry, record);
    if (entry->present()) {
      ++*static_cast<std::int64_t*>(this->store().change(*entry, timestamp));
    } else {
      std::construct_at(static_cast<std::int64_t*>(this->store().replace(*entry, timestamp)), 1);
    }
    this->updated(*entry);
  }
};

/// (V, V) -> V over the values of a key; the first value is the first result.
template <class K, class V, class F>
class ReduceValues final : public TableOperator<K, V, V> {
 public:
  ReduceValues(const OperatorBuild& build, F function)
      : TableOperator<K, V, V>(build), function_(std::move(function)) {}

  void receive(const Record<K, V>& record) override {
    StateEntry* entry = this->entry_of_value(record);
    if (entry == nullptr) return;
    V next = !entry->present() ? record.value() : user_code(this->name(), [&]() -> V {
      return function_(*static_cast<const V*>(entry->value()), record.value());
    });
    const Timestamp timestamp = this->newest(*entry, record);
    std::construct_at(static_cast<V*>(this->store().replace(*entry, timestamp)), std::move(next));
    this->updated(*entry);
  }

 private:
  const F function_;
};

template <class K, class V, class A, class F>
class Aggregate final : public TableOperator<K, V, A> {
 public:
  Aggregate(const OperatorBuild& build, A initial, F function)
      : TableOperator<K, V, A>(build),
        initial_(std::move(initial)),
        function_(std::move(function)) {}

  void receive(const Record<K, V>& record) override {
    StateEntry* entry = this->entry_of_value(record);
    if (entry == nullptr) return;
    const Timestamp timestamp = this->newest(*entry, record);
    if (entry->present()) {
      A& aggregate = *static_cast<A*>(this->store().change(*entry, timestamp));
      user_code(this->name(), [&] { function_(aggregate, record); });
    } else {
      A first = initial_;
      user_code(this->name(), [&] { function_(first, record); });
      std::construct_at(static_cast<A*>(this->store().replace(*entry, timestamp)),
                        std::move(first));
    }
    this->updated(*entry);
  }

 private:
  const A initial_;
  const F function_;
};

/// K-state's reducer: (record, state or nothing, context) -> state, or nothing to delete it; may
/// react to other topics.
template <class K, class V, class S, class F>
class Reducer final : public TableOperator<K, V, S> {
 public:
  Reducer(const OperatorBuild& build, F function, bool null_deletes)
      : TableOperator<K, V, S>(build),
        reactions_(build.reactions()),
        user_(build.context(), this->name(), reactions_),
        function_(std::move(function)),
        null_deletes_(null_deletes) {}

  void receive(const Record<K, V>& record) override {
    const bool deletes = null_deletes_ && !record.has_value();
    StateEntry* entry = deletes ? this->entry_of(record) : this->entry_of_value(record);
    if (entry == nullptr) return;
    std::optional<S> next;
    if (!deletes) {
      user_.set_record(record.timestamp(), record.header_source());
      std::optional<S> state;
      if (entry->present()) state = *static_cast<const S*>(entry->value());
      next = user_code(this->name(), [&]() -> std::optional<S> {
        return function_(record, std::move(state), user_);
      });
    }
    const Timestamp timestamp = this->newest(*entry, record);
    if (next) {
      std::construct_at(static_cast<S*>(this->store().replace(*entry, timestamp)),
                        *std::move(next));
    } else if (entry->present()) {
      this->store().erase(*entry, timestamp);
    } else {
      return;
    }
    this->updated(*entry);
  }

 private:
  const std::vector<ReactionSink> reactions_;
  Context user_;
  const F function_;
  const bool null_deletes_;
};

}  // namespace millrace::detail
