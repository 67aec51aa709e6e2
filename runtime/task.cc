// SPDX-License-Identifier: Apache-2.0
#include "runtime/task.h"

#include <algorithm>
#include <utility>

#include "millrace/functions.h"
#include "runtime/clock_record.h"
#include "runtime/dead_letter.h"
#include "runtime/kill_point.h"
#include "runtime/partitioner.h"
#include "runtime/withdrawn_version.h"

namespace millrace {
namespace {

// Cache entries are evicted between records, since operators hold references to them while they
// work on one.
constexpr std::size_t kRecordsPerTrim = 1024;

// How much of a store is looked at for keys and versions that are over: four entries for
// each record, and as many as for 1,024 records at each commit, so that it goes on while nothing
// arrives.
constexpr std::size_t kRecordsPerSweep = 1024;
constexpr std::size_t kEntriesPerSweep = 4 * kRecordsPerSweep;

// However the work ends, nothing is in hand afterwards.
struct HandGuard {
  RecordInHand* const hand;

  explicit HandGuard(RecordInHand* the_hand) : hand(the_hand) {}
  HandGuard(const HandGuard&) = delete;
  HandGuard& operator=(const HandGuard&) = delete;
  ~HandGuard() {
    if (hand != nullptr) hand->put_down();
  }
};

// What a table hands on has failed the task: thrown through the operators to the commit.
class HandOnFailure final : public Error {
 public:
  explicit HandOnFailure(Status status)
      : Error("hand_on_failure", status.message()), status_(std::move(status)) {}
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  Status status_;
};

// Of a changelog that is read as an input: no change.
bool is_clock_record(const RawRecord& record) { return record.key == kClockKey && !record.value; }

std::optional<std::string> owned(std::optional<std::string_view> bytes) {
  return bytes ? std::optional<std::string>{*bytes} : std::nullopt;
}

}  // namespace

// --- What happens to a record ---

Result<std::size_t> Task::process(std::size_t records_max) {
  const HandGuard guard{settings_.hand.get()};
  std::size_t done = 0;
  while (done < records_max) {
    const auto choice = retry_ ? std::optional<std::size_t>{retry_->input} : next_input();
    if (!choice || (retry_ && clock_.elapsed() < retry_->due)) break;
    Input& input = inputs_[*choice];
    const auto records = input.batches.front()->records();
    if (input.next % kRecordsPerTrim == 0) {
      maintain();
      const auto next =
          records.subspan(input.next, std::min(kRecordsPerTrim, records.size() - input.next));
      if (auto status = prefetch(input, next); !status.ok()) return status;
    }
    const auto finished = process_record(input, records[input.next]);
    if (!finished) return finished.error();
    if (!*finished) break;
    input.position = records[input.next].offset + 1;
    progressed_ = true;
    metrics_.input(input.index).consumed.add();
    if (++records_since_sweep_ >= kRecordsPerSweep) {
      if (auto status = sweep(); !status.ok()) return status;
    }
    ++done;
    --input.buffered;
    if (++input.next == records.size()) {
      input.batches.pop_front();
      input.next = 0;
    }
  }
  return done;
}

// A record changes the cache and produces outputs. Nothing of it is durable before the next commit:
// a crash here costs nothing but doing it again, and outputs that left already may repeat
// (at-least-once). False: it is to be tried again later, and nothing of it is left.
Result<bool> Task::process_record(Input& input, const RawRecord& record) {
  if (is_clock_record(record)) return true;
  origin_ = {input.partition.topic, input.partition.partition, record.offset};
  if (settings_.hand) settings_.hand->take(input.index, record.offset);
  before_ = {stream_time_, input.partition_time, input.has_time};
  stream_time_ = std::max(stream_time_, record.timestamp);
  input.partition_time = std::max(input.partition_time, record.timestamp);
  input.has_time = true;
  tell_time();
  try {
    if (const auto failure = attempt([&] { return input.source->receive(record); })) {
      return failed(input, record, *failure);
    }
  } catch (const StoreFailure& failure) {
    return Status{failure.status().code(),
                  "record " + to_string(origin_) + ": " + failure.status().message()};
  } catch (const SinkFailure& failure) {
    return failure.status();
  }
  retry_.reset();
  return true;
}

// The one place where what user code throws is caught. After a failure it is as if nothing had been
// done. Failures of stores and sinks pass through: they are no record's fault.
template <class Work>
std::optional<Task::Failure> Task::attempt(const Work& work) {
  if (may_skip_) {
    for (auto& store : stores_) store.cache->begin_record();
  }
  std::optional<Failure> failure;
  try {
    if (const Status status = work(); !status.ok()) {
      failure = {ErrorKind::kDecode, {}, "cannot be decoded, " + status.message()};
    }
  } catch (const StoreFailure&) {
    throw;
  } catch (const SinkFailure&) {
    throw;
  } catch (const UserCodeError& error) {
    failure = {ErrorKind::kProcess, error.operator_name, error.what()};
  } catch (const std::exception& error) {
    failure = {ErrorKind::kProcess, {}, error.what()};
  } catch (...) {
    failure = {ErrorKind::kProcess, {}, "a serde threw something that is no std::exception"};
  }
  if (!failure) failure = too_large();
  if (failure) {
    if (may_skip_) {
      for (auto& store : stores_) store.cache->undo_record();
    }
    held_.clear();
    return failure;
  }
  if (!may_skip_) return std::nullopt;
  for (auto& store : stores_) store.cache->keep_record();
  produce_held();
  return std::nullopt;
}

// Asked before any of a record's outputs leaves: none of them can be taken back.
std::optional<Task::Failure> Task::too_large() const {
  for (const auto& output : held_) {
    const std::size_t bytes = record_bytes(output.key, output.value, output.headers);
    if (bytes <= settings_.message_bytes_max) continue;
    return Failure{ErrorKind::kProduce, outputs_[output.sink].operators,
                   "its output to " + outputs_[output.sink].topic + " has " +
                       std::to_string(bytes) + " bytes, larger than kafka.message.max.bytes = " +
                       std::to_string(settings_.message_bytes_max) + " allows"};
  }
  return std::nullopt;
}

// The record is tried again later, given up, or fails the task.
Result<bool> Task::failed(Input& input, const RawRecord& record, const Failure& failure) {
  stream_time_ = before_.stream_time;
  input.partition_time = before_.partition_time;
  input.has_time = before_.has_time;
  const std::size_t attempts = (retry_ ? retry_->attempts : 0) + 1;
  if (failure.kind == ErrorKind::kProcess && attempts <= input.errors.retries) {
    const auto pause = input.errors.pause(attempts);
    retry_ = {input.index, attempts, clock_.elapsed() + pause};
    metrics_.retries().add();
    say("record " + to_string(origin_) + ": " + failure.message + "; attempt " +
        std::to_string(attempts) + " of " + std::to_string(input.errors.retries + 1) +
        ", the next one in " + std::to_string(pause.count()) + " ms");
    return false;
  }
  retry_.reset();
  const std::string& name =
      failure.kind == ErrorKind::kDecode ? input.source_name : failure.operator_name;
  if (auto status =
          give_up(input,
                  {failure.kind, origin_, record.timestamp, record.key, record.value, id_text_,
                   name, failure.message, attempts, input.errors.policy(failure.kind)},
                  record.headers);
      !status.ok()) {
    return status;
  }
  return true;
}

// What a table hands on at a commit belongs to no record that could be tried again.
void Task::hand_on(NodeIndex node, StateCache& store, const StateEntry& entry,
                   const std::function<void()>& forward) {
  if (!may_skip_) return forward();
  const auto failure = attempt([&] {
    forward();
    return Status{};
  });
  if (!failure) return;
  std::string value;
  if (entry.present()) store.ops().encode(entry.value(), value);
  const Input& input = input_above(node);
  const Origin table{plan_.graph->nodes()[node].name, plan_.id.partition, -1};
  const auto status =
      give_up(input,
              {failure->kind, table, entry.timestamp(), entry.key(),
               entry.present() ? std::optional<std::string_view>{value} : std::nullopt, id_text_,
               failure->operator_name, failure->message, 1, input.errors.policy(failure->kind)},
              nullptr);
  if (!status.ok()) throw HandOnFailure(status);
}

std::optional<std::size_t> Task::next_input() const {
  if (inputs_.size() == 1)
    return inputs_[0].buffered > 0 ? std::optional<std::size_t>{0} : std::nullopt;
  std::optional<std::size_t> best;
  Timestamp lowest{};
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const Input& input = inputs_[i];
    if (input.buffered == 0) {
      if (!input.caught_up && inputs_.size() > 1)
        return std::nullopt;  // Its next record may be the lowest.
      continue;
    }
    const RawRecord& next = input.batches.front()->records()[input.next];
    if (is_clock_record(next)) return i;  // Its time is none of the input's.
    const Timestamp head = next.timestamp;
    if (!best || head < lowest) {
      best = i;
      lowest = head;
    }
  }
  return best;
}

Status Task::prefetch(const Input& input, std::span<const RawRecord> records) {
  if (input.keyed_stores.empty()) return {};
  std::vector<std::string_view> keys;
  keys.reserve(records.size());
  for (const auto& record : records) {
    if (record.key) keys.push_back(*record.key);
  }
  try {
    for (const std::size_t store : input.keyed_stores) stores_[store].cache->prefetch(keys);
  } catch (const StoreFailure& failure) {
    return failure.status();
  }
  return {};
}

void Task::send(SinkIndex sink, std::optional<std::string_view> key,
                std::optional<std::string_view> value, Timestamp timestamp,
                const HeaderSource* headers) {
  Headers decoded;
  if (headers != nullptr) decoded = headers->headers();
  if (!may_skip_) return produce(sink, key, value, timestamp, decoded.empty() ? nullptr : &decoded);
  held_.push_back({sink, owned(key), owned(value), timestamp, std::move(decoded)});
}

void Task::produce(SinkIndex sink, std::optional<std::string_view> key,
                   std::optional<std::string_view> value, Timestamp timestamp,
                   const Headers* headers) {
  const Output& output = outputs_[sink];
  // Records without a key take turns among the partitions.
  const std::int32_t partition =
      key ? partition_of(*key, output.target.partitions)
          : static_cast<std::int32_t>(null_key_partition_++ %
                                      static_cast<std::uint32_t>(output.target.partitions));
  produce_to(sink, partition, key, value, timestamp, headers);
}

void Task::produce_to(SinkIndex sink, std::int32_t partition, std::optional<std::string_view> key,
                      std::optional<std::string_view> value, Timestamp timestamp,
                      const Headers* headers) {
  if (epoch_over_) {
    // The transaction that is being committed must hold nothing of later records.
    held_back_bytes_ += (key ? key->size() : 0) + (value ? value->size() : 0) + sizeof(HeldBack);
    held_back_.push_back(
        {{sink, owned(key), owned(value), timestamp, headers != nullptr ? *headers : Headers{}},
         partition});
    return;
  }
  const Output& output = outputs_[sink];
  const auto status =
      sink_.produce(output.target.id, partition, key, value, timestamp, headers, *acks_);
  if (!status.ok()) {
    throw SinkFailure(Status{status.code(), "cannot write to " + output.topic + '-' +
                                                std::to_string(partition) + " for record " +
                                                to_string(origin_) + ": " + status.message()});
  }
  output.produced->add();
}

void Task::produce_held() {
  for (const auto& output : held_) {
    produce(output.sink, output.key, output.value, output.timestamp,
            output.headers.empty() ? nullptr : &output.headers);
  }
  held_.clear();
}

// --- When it is durable ---

Result<std::shared_ptr<const PreparedCommit>> Task::prepare_start() {
  std::size_t healed = 0;
  tell_time();
  try {
    for (std::size_t i = 0; i < stores_.size(); ++i) {
      for (const auto& key : tails_[i]) stores_[i].cache->log_again(key, stream_time_);
      healed += tails_[i].size();
    }
  } catch (const StoreFailure& failure) {
    return failure.status();
  }
  tails_.clear();
  if (healed > 0 && settings_.log) {
    settings_.log(LogLevel::kInfo, "task " + id_text_ + ": writing " + std::to_string(healed) +
                                       " keys again that no commit covers");
  }
  MILLRACE_KILL_POINT("before_start_commit");
  progressed_ =
      true;  // Commit in any case: before this commit nothing may be written or processed.
  return produce_changes();
}

Result<std::shared_ptr<const PreparedCommit>> Task::prepare() {
  const HandGuard guard{settings_.hand.get()};
  if (settings_.hand) settings_.hand->take(0, RecordInHand::kTables);
  count_expired();
  if (auto status = sweep(); !status.ok()) return status;
  for (StateCache* store : swept_stores_) store->expire_changed();
  // Tables hand on what has changed, which may change tables further down: parents stand first.
  try {
    for (const NodeIndex node : plan_.subtopology().nodes) operators_[node]->flush();
    produce_held();
  } catch (const StoreFailure& failure) {
    return failure.status();
  } catch (const SinkFailure& failure) {
    return failure.status();
  } catch (const HandOnFailure& failure) {
    return Status{failure.status().code(), "task " + id_text_ + ", handing on a table's changes: " +
                                               failure.status().message()};
  } catch (const std::exception& error) {
    return Status::internal("task " + id_text_ + ", handing on a table's changes: " + error.what());
  } catch (...) {
    return Status::internal("task " + id_text_ +
                            ", handing on a table's changes: something that is no std::exception");
  }
  // What expires is a change without a record.
  const bool expired = std::any_of(swept_stores_.begin(), swept_stores_.end(),
                                   [](const StateCache* store) { return !store->dirty().empty(); });
  if (!progressed_ && !expired) {
    epoch_over_ = settings_.transactional;
    return std::shared_ptr<const PreparedCommit>{};
  }
  return produce_changes();
}

// The commit, step by step, and what a crash costs at each:
//   1. here: changes are produced to the changelogs. A crash leaves some of them behind the
//      committed end, where the next start finds them and writes their keys again with the
//      committed values; of a transaction, nobody ever sees them.
//   2. all of it is acknowledged, and nothing foreign lies between (PreparedCommit::judge). A
//      crash: as 1.
//   3. the offsets are committed with the commit point as metadata, by themselves or with all else
//      in the transaction. From here on, and only from here on, it counts.
//   4. committed(): the changes wait in memory for the next checkpoint. A crash: they are read from
//      the changelog.
//   5. checkpoint(): the engines take them, atomically with their position.
Result<std::shared_ptr<const PreparedCommit>> Task::produce_changes() {
  std::string at = "task " + id_text_;
  try {
    return produce_changes_of_stores(at);
  } catch (const std::exception& error) {
    return Status::internal(at + ": a value cannot be encoded: " + error.what());
  } catch (...) {
    return Status::internal(
        at + ": a value cannot be encoded: its serde threw something that is no std::exception");
  }
}

Result<std::shared_ptr<const PreparedCommit>> Task::produce_changes_of_stores(std::string& at) {
  MILLRACE_KILL_POINT("before_produce");
  static const Headers withdrawal{{kWithdrawnHeader, std::nullopt}};
  auto commit = std::make_shared<PreparedCommit>();
  commit->task = plan_.id;
  commit->inputs = plan_.inputs;
  commit->point = point_;
  commit->point.sequence = point_.sequence + 1;
  commit->point.committed_at = clock_.now();
  for (const auto& input : inputs_) {
    commit->point.sources[input.partition.topic] = input.position;
    if (input.has_time) commit->point.partition_times[input.partition.topic] = input.partition_time;
  }
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    Store& store = stores_[i];
    const TopicPartition& changelog = plan_.stores[i].changelog;
    const bool logged = plan_.stores[i].writes_changelog();
    at = "task " + id_text_ + ", store " + store_name(i);
    if (logged) at += ", changelog " + to_string(changelog);
    const auto changes = store.cache->prepare();
    if (plan_.stores[i].on_source) {
      commit->point.changelog_ends[changelog.topic] = commit->point.sources.at(changelog.topic);
    }
    if (!logged) continue;
    const auto acks = sink_.new_tracker();
    writes_.push_back({changelog, store.examined_end, acks});
    const KeyLayout& layout = store.cache->layout();
    for (const Change& change : changes) {
      if (!change.logged) continue;
      Status status;
      if (acks->produced() == 0) status = protect(i, change.timestamp, *acks);
      if (status.ok()) {
        status = sink_.produce(store.changelog, changelog.partition, layout.log_key(change.key),
                               change.changelog_value(layout), change.timestamp,
                               change.withdrawn ? &withdrawal : nullptr, *acks);
      }
      if (!status.ok()) {
        return Status{status.code(), "task " + id_text_ + ": cannot write to changelog " +
                                         to_string(changelog) + ": " + status.message()};
      }
    }
    metrics_.changes().add(static_cast<std::uint64_t>(acks->produced()));
    store.written = acks->produced() > 0;
  }
  commit->changelogs = std::exchange(writes_, {});
  commit->outputs = std::move(acks_);
  acks_ = sink_.new_tracker();
  in_flight_ = true;
  epoch_over_ = settings_.transactional;
  progressed_ = false;
  MILLRACE_KILL_POINT("after_produce");
  return std::shared_ptr<const PreparedCommit>{std::move(commit)};
}

std::shared_ptr<const PreparedCommit> Task::refused_commit(const Status& why) {
  auto commit = std::make_shared<PreparedCommit>();
  commit->task = plan_.id;
  commit->changelogs = std::exchange(writes_, {});
  commit->outputs = std::exchange(acks_, sink_.new_tracker());
  commit->refusal = why;
  return commit;
}

// Compaction lags count in record time: until the commit is durable, or healed if it never is, the
// values that a change set supersedes are kept by a record within the lag that stands before it.
// The first change decides: nothing behind a segment that is kept is compacted. Not for versions:
// Kafka Streams would take its time for the store's and expire what is there.
Status Task::protect(std::size_t store, Timestamp first_change, AckTracker& acks) {
  const Timestamp now = clock_.now();
  if (first_change >= now - settings_.min_compaction_lag / 4) return {};
  if (stores_[store].cache->layout().kind() == StoreKind::kVersioned) return {};
  return sink_.produce(stores_[store].changelog, plan_.stores[store].changelog.partition, kClockKey,
                       std::nullopt, now, nullptr, acks);
}

void Task::committed(const CommitPoint& point) {
  point_ = point;
  in_flight_ = false;
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    stores_[i].cache->committed();
    if (!plan_.stores[i].has_changelog()) continue;
    // Foreign records that the start has read lie below; what the next commit writes must follow
    // what is there now, and that is the marker too with which a transaction ends.
    const std::int64_t marker = settings_.transactional && stores_[i].written ? 1 : 0;
    stores_[i].examined_end = std::max(
        stores_[i].examined_end, point.changelog_ends.at(plan_.stores[i].changelog.topic) + marker);
    stores_[i].written = false;
  }
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    metrics_.input(i).committed_offset.set(
        static_cast<double>(point.sources.at(inputs_[i].partition.topic)));
  }
}

Status Task::check_logs(std::span<const std::int64_t> log_ends, bool last) {
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    Store& store = stores_[i];
    // What a commit in flight has written is judged with it.
    if (!plan_.stores[i].writes_changelog() || store.written) continue;
    const auto changelog = to_string(plan_.stores[i].changelog);
    if (log_ends[i] > store.examined_end) {
      return Status::unavailable(
          "task " + id_text_ + ": " + changelog + " has records of another writer from offset " +
          std::to_string(store.examined_end) + " to " + std::to_string(log_ends[i]) +
          "; the task starts again from its last commit and writes their keys anew");
    }
    // In a transaction's last moments a reader of committed records sees its end later than we do.
    if (!settings_.transactional && log_ends[i] < store.checked_end) {
      return Status::corruption("task " + id_text_ + ": " + changelog + " ends at offset " +
                                std::to_string(log_ends[i]) + ", but went to " +
                                std::to_string(store.checked_end) +
                                " before: it was truncated or made anew while running");
    }
    store.checked_end = store.examined_end;
  }
  if (last || point_.sequence == checked_sequence_) progressed_ = true;
  checked_sequence_ = point_.sequence;
  return {};
}

Status Task::begin_epoch() {
  epoch_over_ = false;
  try {
    for (const auto& output : held_back_) {
      produce_to(output.sink, output.partition, output.key, output.value, output.timestamp,
                 output.headers.empty() ? nullptr : &output.headers);
    }
  } catch (const SinkFailure& failure) {
    return failure.status();
  }
  held_back_.clear();
  held_back_bytes_ = 0;
  return {};
}

bool Task::wants_commit() const {
  return std::any_of(stores_.begin(), stores_.end(),
                     [](const Store& store) { return store.cache->wants_checkpoint(); });
}

Status Task::checkpoint_if_due() {
  std::size_t bytes = 0;
  bool memory = false;
  for (const auto& store : stores_) {
    bytes += store.cache->uncheckpointed_bytes();
    memory = memory || store.cache->wants_checkpoint();
  }
  if (bytes == 0) return {};
  const bool due = clock_.elapsed() - checkpointed_at_ >= settings_.checkpoint_interval;
  if (!due && !memory && bytes < settings_.checkpoint_bytes_max) return {};
  return checkpoint();
}

Status Task::checkpoint() {
  std::vector<std::vector<EngineChange>> changes;
  std::vector<StoreCheckpoint> parts;
  std::map<std::string, std::int64_t> sources;
  try {
    for (auto& store : stores_) changes.push_back(store.cache->uncheckpointed());
  } catch (const StoreFailure& failure) {
    return failure.status();
  }
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    // Content that no changelog vouches for has no lineage: no later start takes it for restored.
    EnginePosition position{kNoLineage, 0, clock_.now()};
    if (const auto& store = plan_.stores[i]; !store.starts_empty) {
      position.lineage = engine_lineage(point_.lineage, stores_[i].cache->layout().kind());
      position.next_offset = point_.changelog_ends.at(store.changelog.topic);
    }
    parts.push_back({0, changes[i], position, stores_[i].cache->erase_below()});
  }
  for (const auto& input : plan_.inputs) sources[to_string(input)] = point_.sources.at(input.topic);
  MILLRACE_KILL_POINT("before_checkpoint");
  if (auto status = engines_.apply(std::move(parts), sources); !status.ok()) {
    return Status{status.code(), "task " + id_text_ + ": checkpoint failed: " + status.message()};
  }
  MILLRACE_KILL_POINT("after_checkpoint");
  for (auto& store : stores_) store.cache->checkpointed();
  checkpointed_at_ = clock_.elapsed();
  metrics_.checkpoints().add();
  return {};
}

Status Task::backup(
    const std::function<Result<std::filesystem::path>(std::string_view)>& directory) {
  // Without a change since, the engines' positions may stand below the commit point, at records
  // that are no changes.
  if (auto status = checkpoint(); !status.ok()) return status;
  auto status = engines_.backup(directory);
  if (status.ok()) return {};
  return Status{status.code(), "task " + id_text_ + ": " + status.message()};
}

Status Task::close() {
  if (closed_) return {};
  closed_ = true;
  operators_.clear();
  const bool uncheckpointed = std::any_of(stores_.begin(), stores_.end(), [](const Store& store) {
    return store.cache->uncheckpointed_bytes() > 0;
  });
  Status status = uncheckpointed ? checkpoint() : Status{};
  stores_.clear();
  auto closed = engines_.close();
  return status.ok() ? closed : status;
}

// --- The rest ---

void Task::add(std::size_t input, std::unique_ptr<Batch> batch) {
  const std::size_t count = batch->records().size();
  if (count == 0) return;
  inputs_[input].buffered += count;
  inputs_[input].batches.push_back(std::move(batch));
}

std::size_t Task::buffered() const {
  std::size_t sum = 0;
  for (const auto& input : inputs_) sum += input.buffered;
  return sum;
}

StateCache* Task::find_store(const std::string& name) {
  tell_time();
  return cache_of(name);
}

StateCache* Task::cache_of(const std::string& name) {
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    if (store_name(i) == name) return stores_[i].cache.get();
  }
  return nullptr;
}

StateCache& Task::store(const std::string& name, const ValueOps& value, const KeyOps& key,
                        StoreKind kind) {
  StateCache* cache = cache_of(name);
  if (cache == nullptr) {
    throw UnknownStoreError("store '" + name +
                            "' is not connected to this part of the topology; name it in "
                            "connects(...)");
  }
  check_store_types(plan_.graph->stores()[*plan_.graph->find_store(name)], value, key, kind);
  return *cache;
}

void Task::count_expired() {
  std::uint64_t expired = 0;
  for (const auto& store : stores_) expired += store.cache->figures().expired;
  metrics_.dropped(DropReason::kExpired).add(expired - expired_counted_);
  expired_counted_ = expired;
}

// By what time keys expire: a record's own included, a skipped one's not. Told anew before anything
// looks at a store.
void Task::tell_time() {
  for (StateCache* store : swept_stores_) {
    if (!store->layout().has_ttl()) continue;
    if (store->layout().ttl_clock() == TtlClock::kEventTime) {
      store->set_time(stream_time_);
    } else {
      latest_wall_time_ = std::max(latest_wall_time_, clock_.now());
      store->set_time(latest_wall_time_);
    }
  }
}

// Removes keys and versions whose time is over, a bounded number.
Status Task::sweep() {
  records_since_sweep_ = 0;
  tell_time();
  try {
    for (StateCache* store : swept_stores_) store->sweep(kEntriesPerSweep);
  } catch (const StoreFailure& failure) {
    return failure.status();
  }
  return {};
}

void Task::maintain() {
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    StateCache& cache = *stores_[i].cache;
    cache.trim();
    const auto figures = cache.figures();
    auto& store = metrics_.store(i);
    store.cache_bytes.set(static_cast<double>(figures.bytes));
    store.dirty_bytes.set(static_cast<double>(figures.dirty_bytes));
    store.uncheckpointed_bytes.set(static_cast<double>(cache.uncheckpointed_bytes()));
    store.cache_hits.raise_to(figures.hits);
    store.cache_misses.raise_to(figures.misses);
    store.expired.raise_to(figures.expired_keys);
  }
  count_expired();
  say_what_was_left_out();
}

std::vector<EngineStatistics> Task::store_figures() {
  std::vector<EngineStatistics> figures;
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    const auto& place = engines_.places()[i];
    figures.push_back(place.engine->statistics(place.index));
    figures.back().entries_estimate = stores_[i].cache->approximate_entries();
    metrics_.store(i).entries.set(static_cast<double>(figures.back().entries_estimate));
    metrics_.store(i).disk_bytes.set(static_cast<double>(figures.back().disk_bytes));
  }
  return figures;
}

}  // namespace millrace
