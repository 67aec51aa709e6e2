// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "millrace/topology.h"
#include "runtime/memory_log.h"
#include "runtime/partitioner.h"
#include "runtime/task.h"
#include "tests/support/kept_engine.h"

namespace millrace::testing {

/// As stores keep a count.
inline std::string i64(std::int64_t number) {
  std::string out;
  Serde<std::int64_t>::encode(number, out);
  return out;
}

/// Key bytes to value bytes, without timestamps.
using Contents = std::map<std::string, std::string>;

/// Keys and values of changelog records [0, end), the last of a key wins; without what is left of a
/// time before `live_from`.
inline Contents folded(const MemoryLog::Partition& log, std::int64_t end,
                       Timestamp live_from = Timestamp::min()) {
  Contents contents;
  for (std::int64_t i = 0; i < end; ++i) {
    const auto& record = log.at(static_cast<std::size_t>(i));
    if (!record.key || !record.visible()) continue;
    if (record.value && record.timestamp >= live_from) {
      contents[*record.key] = *record.value;
    } else {
      contents.erase(*record.key);
    }
  }
  return contents;
}

/// The same of a versioned store's, by engine key.
inline Contents folded_versions(const MemoryLog::Partition& log, std::int64_t end,
                                const KeyLayout& layout) {
  Contents contents;
  std::string key;
  std::string value;
  for (std::int64_t i = 0; i < end; ++i) {
    const auto& record = log.at(static_cast<std::size_t>(i));
    if (!record.key || !record.visible()) continue;
    if (!layout.engine_key(*record.key, record.timestamp, key)) continue;
    layout.engine_value(record.value, record.timestamp, value);
    contents[key] = value.substr(sizeof(std::int64_t));
    if (record.withdrawn()) contents.erase(key);
  }
  return contents;
}

/// Everything a state cache shows.
inline Contents shown(StateCache& cache) {
  Contents contents;
  // The time that a store observes stands before its entries.
  const std::string_view first{"", cache.layout().observes_time() ? 1U : 0U};
  for (const auto scan = cache.scan(first, {}); scan->valid(); scan->next()) {
    std::string value;
    cache.ops().encode(scan->value(), value);
    contents.emplace(scan->key(), value);
  }
  return contents;
}

/// Everything an engine holds of a store.
inline Contents held(Engine& engine, StoreIndex store, const KeyLayout& layout = {}) {
  Contents contents;
  auto scan = engine.scan(store, {}, {});
  if (layout.observes_time() && (*scan)->valid() && (*scan)->key() == KeyLayout::kTimeKey)
    (*scan)->next();
  for (; (*scan)->valid(); (*scan)->next()) {
    contents.emplace((*scan)->key(), (*scan)->value().substr(sizeof(std::int64_t)));
  }
  return contents;
}

/// Lets a foreign record land in a topic when the n-th record from now on is written; refuses what
/// is written to a topic.
class IntrudedSink final : public Sink {
 public:
  explicit IntrudedSink(MemoryLog& log) : log_(log) {}

  void intrude(std::size_t after, TopicPartition where, MemoryLog::StoredRecord record) {
    after_ = after;
    where_ = std::move(where);
    record_ = std::move(record);
  }
  /// What was announced and did not come is called off.
  void call_off() { after_.reset(); }
  void refuse(std::string topic, Status why) {
    refused_ = std::move(topic);
    refusal_ = std::move(why);
  }

  Result<Topic> topic(const std::string& name) override { return log_.topic(name); }
  std::shared_ptr<AckTracker> new_tracker() override { return log_.new_tracker(); }
  Status produce(std::uint32_t topic, std::int32_t partition, std::optional<std::string_view> key,
                 std::optional<std::string_view> value, Timestamp timestamp, const Headers* headers,
                 AckTracker& tracker) override {
    if (!refused_.empty() && log_.topic(refused_)->id == topic) return refusal_;
    if (after_ && *after_ == 0) {
      log_.append(where_, record_);
      after_.reset();
    }
    if (after_) --*after_;
    return log_.produce(topic, partition, key, value, timestamp, headers, tracker);
  }

 private:
  MemoryLog& log_;
  std::optional<std::size_t> after_;
  TopicPartition where_;
  MemoryLog::StoredRecord record_;
  std::string refused_;
  Status refusal_;
};

/// One task over a log in memory, moved step by step. Every Status is the caller's to judge.
class TaskHarness {
 public:
  using Prepared = std::shared_ptr<const PreparedCommit>;

  explicit TaskHarness(const Topology& topology, TaskId id = {0, 0},
                       std::map<std::string, std::int32_t> partitions = {})
      : graph(topology.graph()) {
    graph->freeze();
    const auto& part = graph->subtopologies()[static_cast<std::size_t>(id.subtopology)];
    const auto count = [&](const std::string& topic) {
      const auto given = partitions.find(topic);
      return given == partitions.end() ? 1 : given->second;
    };
    std::vector<std::int32_t> counts;
    for (const auto& topic : part.source_topics) {
      counts.push_back(count(topic));
      log.create_topic(topic, counts.back());
    }
    for (const auto& topic : part.sink_topics) log.create_topic(topic, count(topic));
    plan = plan_task(graph, id, counts, "app");
    for (const auto& store : plan.stores) {
      if (!store.has_changelog()) continue;
      log.create_topic(store.changelog.topic, *std::max_element(counts.begin(), counts.end()));
    }
  }

  // --- Start ---

  /// Opens the engines and restores them.
  Result<TaskStart> restore() {
    task.reset();
    engines.emplace();
    std::string rebuilt;
    auto opened =
        TaskEngines::open(plan, engine_factory ? engine_factory : disk, nullptr, nullptr, rebuilt);
    if (!opened) return opened.error();
    engines = *std::move(opened);
    restore_settings.new_lineage = ++lineages;
    restore_settings.transactional = settings.transactional;
    RestoreObserver nobody;
    return restore_task(plan, *engines, offsets(), *reader, clock, restore_settings,
                        observer != nullptr ? *observer : nobody);
  }
  /// Restores and makes the task: all but its first commit.
  Status create() {
    log.end_transaction(false);  // What a new producer does with its predecessor's.
    auto start = restore();
    if (!start) return start.error();
    begun = *start;
    if (settings.transactional) log.begin_transaction();
    registry = std::make_unique<metrics::Registry>();
    auto made = Task::create(plan, *std::move(engines), *std::move(start), *writer, clock, settings,
                             *budget, *registry);
    engines.reset();
    if (!made) return made.error();
    task = *std::move(made);
    return {};
  }
  Status start() {
    if (auto status = create(); !status.ok()) return status;
    auto prepared = task->prepare_start();
    if (!prepared) return prepared.error();
    return complete(*prepared);
  }

  // --- Work ---

  void append(const std::string& topic, std::optional<std::string> key,
              std::optional<std::string> value, Timestamp timestamp = {}) {
    log.append({topic, plan.id.partition}, {std::move(key), std::move(value), timestamp, {}});
  }
  /// Hands over what the log has beyond what was handed over, then processes at most `records_max`.
  Result<std::size_t> process(std::size_t records_max) {
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
      const std::int64_t next = task->position(i) + static_cast<std::int64_t>(task->buffered(i));
      task->add(i, std::make_unique<LogBatch>(log.partition(plan.inputs[i]), next));
      task->set_caught_up(i, true);
    }
    return task->process(records_max);
  }

  // --- Commit ---

  /// Makes a prepared commit durable and tells the task.
  Status complete(const Prepared& prepared) {
    auto point = commit_offsets(prepared);
    if (!point) return point.error();
    return learn(*point);
  }
  /// Tells the task that its commit is durable.
  Status learn(const CommitPoint& point) {
    task->committed(point);
    return task->begin_epoch();
  }
  /// Makes a prepared commit durable; the task does not learn of it.
  Result<CommitPoint> commit_offsets(const Prepared& prepared) {
    if (!prepared->answered()) return Status::unavailable("not answered");
    auto point = prepared->judge();
    if (!point) return point.error();
    if (auto status = land(*point); !status.ok()) return status;
    return point;
  }
  /// The group gets the commit point, and a transaction ends.
  Status land(const CommitPoint& point) {
    auto commit = offsets_to_commit(point, plan.inputs);
    if (!commit) return commit.error();
    log.commit(*commit);
    if (settings.transactional) {
      log.end_transaction(true);
      log.begin_transaction();
    }
    history.push_back(*std::move(commit));
    return {};
  }
  Status commit() {
    auto prepared = task->prepare();
    if (!prepared) return prepared.error();
    return *prepared ? complete(*prepared) : task->begin_epoch();
  }

  void crash(bool keep_disk) {
    task.reset();
    engines.reset();
    log.end_transaction(false);
    log.lose_after(std::nullopt);
    sink.call_off();
    if (!keep_disk) disk->lose_disk();
  }

  [[nodiscard]] const TopicPartition& changelog(std::size_t store = 0) const {
    return plan.stores[store].changelog;
  }
  [[nodiscard]] const MemoryLog::Partition& changelog_log(std::size_t store = 0) const {
    return log.partition(changelog(store));
  }
  /// The commit point that the group holds.
  [[nodiscard]] std::optional<DecodedCommitPoint> durable() const {
    const auto valid = valid_commit_points(log.committed(plan.inputs), restore_settings.cluster);
    return valid.empty() ? std::nullopt : std::optional{valid.front()};
  }
  [[nodiscard]] std::int64_t committed_end(std::size_t store = 0) const {
    return durable()->changelog_ends.at(topic_hash(changelog(store).topic));
  }
  [[nodiscard]] std::int64_t source(std::size_t input = 0) const {
    return durable()->sources.at(topic_hash(plan.inputs[input].topic));
  }
  [[nodiscard]] Contents live(std::size_t store = 0) {
    const auto& name = graph->stores()[plan.stores[store].store].options.name();
    return shown(*task->find_store(name));
  }

  std::shared_ptr<Graph> graph;
  TaskPlan plan;
  MemoryLog log;
  IntrudedSink sink{log};
  ManualClock clock;
  std::unique_ptr<CacheBudget> budget = std::make_unique<CacheBudget>(std::size_t{1} << 20);
  std::shared_ptr<KeptEngineFactory> disk = std::make_shared<KeptEngineFactory>();
  // What a task is given; a test may stand in between.
  std::shared_ptr<EngineFactory> engine_factory;  // Null: the disk.
  Sink* writer = &sink;
  ChangelogReader* reader = &log;
  std::function<std::vector<CommittedOffset>()> offsets = [this] {
    return log.committed(plan.inputs);
  };
  RestoreSettings restore_settings;
  RestoreObserver* observer = nullptr;  // Of restores.
  TaskSettings settings;
  std::unique_ptr<metrics::Registry> registry;
  std::optional<TaskEngines> engines;
  std::unique_ptr<Task> task;
  TaskStart begun;                                 // What the last restore found.
  std::vector<std::vector<OffsetCommit>> history;  // Every commit that got through.
  std::uint64_t lineages = 0;

 private:
  class LogBatch final : public Batch {
   public:
    LogBatch(const MemoryLog::Partition& log, std::int64_t from) {
      for (std::size_t i = static_cast<std::size_t>(from); i < log.size(); ++i)
        copies_.push_back(log[i]);
      for (std::size_t i = 0; i < copies_.size(); ++i) {
        records_.push_back({copies_[i].key, copies_[i].value, copies_[i].timestamp,
                            from + static_cast<std::int64_t>(i), nullptr});
      }
    }
    std::span<const RawRecord> records() const override { return records_; }

   private:
    std::vector<MemoryLog::StoredRecord> copies_;
    std::vector<RawRecord> records_;
  };
};

}  // namespace millrace::testing
