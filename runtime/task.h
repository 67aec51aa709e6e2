// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/config.h"
#include "millrace/error.h"
#include "millrace/graph.h"
#include "millrace/time.h"
#include "runtime/clock_record.h"
#include "runtime/commit.h"
#include "runtime/error_rules.h"
#include "runtime/log_limit.h"
#include "runtime/record_in_hand.h"
#include "runtime/restore.h"
#include "runtime/sink.h"
#include "runtime/task_engines.h"
#include "runtime/task_metrics.h"
#include "runtime/task_plan.h"

namespace millrace {

/// Records of one input partition in offset order, with the memory they borrow.
class Batch {
 public:
  virtual ~Batch() = default;
  [[nodiscard]] virtual std::span<const RawRecord> records() const = 0;
};

/// What a task takes from the configuration.
struct TaskSettings {
  ErrorRules errors;  ///< Where a source does not say otherwise.
  /// Larger outputs are produce errors: `message.max.bytes` of the producer.
  std::size_t message_bytes_max = std::size_t{1} << 30;
  std::chrono::milliseconds checkpoint_interval = std::chrono::seconds{10};
  std::size_t checkpoint_bytes_max = std::size_t{64} << 20;
  /// false: every update of a table is handed on at once.
  bool forward_at_commit = true;
  /// Exactly-once: outputs, changes and offsets are one transaction, which the caller commits.
  bool transactional = false;
  /// Of the changelogs: a change set whose records are older than a quarter of it begins with a
  /// record of the wall clock's time.
  std::chrono::milliseconds min_compaction_lag = kMinCompactionLag;
  /// Told what the task works on. Null: nobody looks.
  std::shared_ptr<RecordInHand> hand;
  /// Told what deserves a line in the log.
  std::function<void(LogLevel, const std::string&)> log;
};

/// One partition's share of a subtopology: its records, operators, state and commits.
///
/// Plain and deterministic: no threads, no clock of its own, nothing asynchronous. The actor, the
/// test driver and the simulator run this very class. Used by one thread at a time.
///
/// Life: made from a TaskStart; `prepare_start` and its commit; then add / process / prepare /
/// committed / checkpoint in any order the shell likes, one commit in flight at most; `close`.
/// After any Status that is not ok the task is spent: destroy it and start another from the commit
/// point. Nothing it had not committed is anywhere but in its memory.
class Task final : public TaskContext {
 public:
  /// Takes the engines over. invalid_argument if an output topic does not exist.
  static Result<std::unique_ptr<Task>> create(TaskPlan plan, TaskEngines engines, TaskStart start,
                                              Sink& sink, const Clock& clock, TaskSettings settings,
                                              CacheBudget& budget, metrics::Registry& registry);
  ~Task() override;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // --- Processing ---

  /// Hands over records of the plan's `input`-th partition, which must follow those before.
  void add(std::size_t input, std::unique_ptr<Batch> batch);

  /// Tells whether everything of an input's partition has been added: an empty input that may have
  /// more holds back the others, so that records are taken in timestamp order.
  void set_caught_up(std::size_t input, bool caught_up) { inputs_[input].caught_up = caught_up; }

  /// Processes at most `records_max` of the added records, always the one with the lowest timestamp
  /// among the inputs' next ones; each goes through the operators depth-first. Returns how many.
  /// A record that is to be tried again stops it until the pause is over: call again later.
  Result<std::size_t> process(std::size_t records_max);

  /// Records added but not processed, of all inputs and of one.
  [[nodiscard]] std::size_t buffered() const;
  [[nodiscard]] std::size_t buffered(std::size_t input) const { return inputs_[input].buffered; }
  /// Next offset of an input that is not processed yet.
  [[nodiscard]] std::int64_t position(std::size_t input) const { return inputs_[input].position; }

  // --- Commit ---

  /// The task's first commit, before it may process: the keys that a crashed commit or a foreign
  /// writer left behind the committed ends are written again with their committed values; same
  /// source offsets, new ends.
  Result<std::shared_ptr<const PreparedCommit>> prepare_start();

  /// Produces what changed since the last commit. Null if nothing did. Precondition: no commit is
  /// in flight. Of a transactional task, what is processed from here on belongs to the next
  /// transaction: its outputs are held back until `begin_epoch`.
  Result<std::shared_ptr<const PreparedCommit>> prepare();

  /// What takes the place of a commit when the transaction has failed (`why`, cancelled) and with
  /// it this task: whether one of its own records was the cause. Nothing else may be called
  /// afterwards but `commit_point`, `plan` and `metrics`.
  std::shared_ptr<const PreparedCommit> refused_commit(const Status& why);

  /// The prepared commit is durable as `point`.
  void committed(const CommitPoint& point);

  /// The next transaction has begun: produces the outputs held back.
  Status begin_epoch();
  /// Bytes of them.
  [[nodiscard]] std::size_t held_back_bytes() const { return held_back_bytes_; }

  /// Compares the changelogs with what the task knows of them, `log_ends` by store in the order of
  /// the plan: what a writer that has lost the partition left there after the last commit must be
  /// overwritten before brokers compact what it supersedes. Called every quarter of the compaction
  /// lag and, as `last`, before the end. The next `prepare` commits if nothing was committed since
  /// the look before, and after the last look in any case: should a copy of an older commit have
  /// come late to the broker, it does not stay the newest.
  ///
  /// unavailable: there are such records; start again from the commit point, which writes their
  /// keys anew. corruption: a changelog is shorter than it was.
  Status check_logs(std::span<const std::int64_t> log_ends, bool last);

  [[nodiscard]] bool commit_in_flight() const { return in_flight_; }
  /// Whether memory asks for a commit (and a checkpoint) before its time.
  [[nodiscard]] bool wants_commit() const;
  [[nodiscard]] const CommitPoint& commit_point() const { return point_; }

  /// Writes the committed changes to the engines if it is time to (interval, bytes, memory).
  Status checkpoint_if_due();
  Status checkpoint();

  // --- The rest ---

  /// Evicts cache entries beyond the budget and folds figures into the metrics.
  void maintain();
  /// Asks the engines for their figures, folds them into the metrics and returns them in the order
  /// of the plan. Dearer than maintain(): for once a second.
  std::vector<EngineStatistics> store_figures();

  /// A store by its name, told what time it is; nullptr if the task has none such.
  [[nodiscard]] StateCache* find_store(const std::string& name);
  [[nodiscard]] const TaskPlan& plan() const { return plan_; }
  [[nodiscard]] TaskMetrics& metrics() { return metrics_; }

  /// Checkpoints, then copies each engine into the directory that `directory` gives for it (empty,
  /// its own). The copy is that of `commit_point()`. A failure spends the task only if the
  /// checkpoint has failed.
  Status backup(
      const std::function<Result<std::filesystem::path>(std::string_view engine_name)>& directory);

  /// Writes a last checkpoint of what is committed and closes the engines. What is not committed is
  /// dropped.
  Status close();

  // --- TaskContext, for operators ---

  [[nodiscard]] const Origin& origin() const override { return origin_; }
  [[nodiscard]] const std::string& task_id() const override { return id_text_; }
  [[nodiscard]] Timestamp stream_time() const override { return stream_time_; }
  [[nodiscard]] Timestamp wall_time() const override { return clock_.now(); }
  void send(SinkIndex sink, std::optional<std::string_view> key,
            std::optional<std::string_view> value, Timestamp timestamp,
            const HeaderSource* headers) override;
  void drop(DropReason reason) override { metrics_.dropped(reason).add(); }
  void hand_on(NodeIndex node, StateCache& store, const StateEntry& entry,
               const std::function<void()>& forward) override;
  StateCache& store(const std::string& name, const ValueOps& value, const KeyOps& key,
                    StoreKind kind) override;

 private:
  struct Input {
    std::size_t index = 0;
    TopicPartition partition;
    SourceOperator* source = nullptr;
    std::vector<std::size_t> keyed_stores;  // Stores that look up the raw key: prefetched.
    std::string source_name;
    ErrorRules errors;
    SinkIndex dead_letters = 0;  // Where these rules know dead letters.
    std::deque<std::unique_ptr<Batch>> batches;
    std::size_t next = 0;  // In the first batch.
    std::size_t buffered = 0;
    std::int64_t position = 0;
    Timestamp partition_time{};
    bool has_time = false;
    bool caught_up = false;
  };
  struct Store {
    std::unique_ptr<StateCache> cache;
    std::uint32_t changelog = 0;  // Of the sink; not looked at without one.
    // Up to here the changelog holds nothing foreign that we do not know of.
    std::int64_t examined_end = 0;
    std::int64_t checked_end = 0;  // What that was at the last look at the log.
    bool written = false;          // By the commit in flight.
  };
  struct Output {
    std::string topic;
    Sink::Topic target;
    metrics::Counter* produced;
    std::string operators = {};  // What writes to it, separated by commas; of dead letters nothing.
  };
  // An output held until its record is done, because the record may yet be skipped.
  struct HeldOutput {
    SinkIndex sink;
    std::optional<std::string> key;
    std::optional<std::string> value;
    Timestamp timestamp;
    Headers headers;
  };
  // One held back until the next transaction begins.
  struct HeldBack : HeldOutput {
    std::int32_t partition;
  };

  // What went wrong with a record or with a table's change.
  struct Failure {
    ErrorKind kind;
    std::string operator_name;
    std::string message;
  };
  // A record that waits for its next attempt; until then its task does nothing else.
  struct Retry {
    std::size_t input;
    std::size_t attempts;  // So far.
    std::chrono::nanoseconds due;
  };

  Task(TaskPlan plan, TaskEngines engines, TaskStart start, Sink& sink, const Clock& clock,
       TaskSettings settings, CacheBudget& budget, metrics::Registry& registry);
  Status build();
  Result<SinkIndex> add_output(const std::string& topic);

  Status prefetch(const Input& input, std::span<const RawRecord> records);
  [[nodiscard]] std::optional<std::size_t> next_input() const;
  Result<bool> process_record(Input& input, const RawRecord& record);
  template <class Work>
  std::optional<Failure> attempt(const Work& work);
  [[nodiscard]] std::optional<Failure> too_large() const;
  Result<bool> failed(Input& input, const RawRecord& record, const Failure& failure);
  Status give_up(const Input& input, ErrorContext error, const HeaderSource* headers);
  [[nodiscard]] const Input& input_above(NodeIndex node) const;
  void write_dead_letter(const Input& input, const ErrorContext& error,
                         const HeaderSource* headers);
  void say(const std::string& text);
  void say_what_was_left_out();
  [[nodiscard]] const std::string& store_name(std::size_t index) const {
    return plan_.graph->stores()[plan_.stores[index].store].options.name();
  }
  void count_expired();
  StateCache* cache_of(const std::string& name);
  void tell_time();
  Status sweep();
  void produce(SinkIndex sink, std::optional<std::string_view> key,
               std::optional<std::string_view> value, Timestamp timestamp, const Headers* headers);
  void produce_to(SinkIndex sink, std::int32_t partition, std::optional<std::string_view> key,
                  std::optional<std::string_view> value, Timestamp timestamp,
                  const Headers* headers);
  void produce_held();
  Result<std::shared_ptr<const PreparedCommit>> produce_changes();
  Status protect(std::size_t store, Timestamp first_change, AckTracker& acks);
  // May throw what a serde throws; `at` tells where it was then.
  Result<std::shared_ptr<const PreparedCommit>> produce_changes_of_stores(std::string& at);

  const TaskPlan plan_;
  const std::string id_text_;
  TaskEngines engines_;
  Sink& sink_;
  const Clock& clock_;
  const TaskSettings settings_;
  TaskMetrics metrics_;

  std::deque<Input> inputs_;
  std::vector<Store> stores_;
  std::vector<StateCache*> swept_stores_;  // Those of them whose entries go one by one.
  std::vector<Output> outputs_;
  std::vector<std::unique_ptr<Operator>>
      operators_;  // By node; null for nodes of other subtopologies.

  // What a record has changed of the times, to put it back if the record is skipped.
  struct Times {
    Timestamp stream_time{};
    Timestamp partition_time{};
    bool has_time = false;
  };

  // The record in hand.
  Origin origin_;
  Times before_;
  Timestamp stream_time_{};
  Timestamp latest_wall_time_{};  // A clock that is set back brings no key back.
  std::uint32_t null_key_partition_ = 0;
  // Some input goes on after a record whose processing fails: keep what it takes to undo one.
  bool may_skip_ = false;
  std::vector<HeldOutput> held_;
  std::vector<HeldBack> held_back_;
  std::size_t held_back_bytes_ = 0;
  std::optional<Retry> retry_;
  LogLimit log_limit_;

  // Commit.
  CommitPoint point_;  // The last that is durable.
  std::vector<std::vector<std::string>> tails_;
  std::shared_ptr<AckTracker> acks_;    // Of the outputs since the last prepare.
  std::vector<ChangelogWrite> writes_;  // Of the changes that the last prepare has produced.
  std::uint64_t checked_sequence_ = 0;  // Of the commit point at the last look at the logs.
  bool in_flight_ = false;
  bool epoch_over_ = false;  // Transactional: prepared, and the next transaction has not begun.
  bool progressed_ = false;  // Records processed since the last prepare.
  std::chrono::nanoseconds checkpointed_at_{};
  bool closed_ = false;
  std::size_t records_since_sweep_ = 0;
  std::uint64_t expired_counted_ = 0;  // Puts refused by stores, as far as the metrics know.
};

}  // namespace millrace
