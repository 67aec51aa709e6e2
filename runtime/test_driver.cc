// SPDX-License-Identifier: Apache-2.0
#include "millrace/test_driver.h"

#include <algorithm>

#include "runtime/dead_letter.h"
#include "runtime/memory_log.h"
#include "runtime/partitioner.h"
#include "runtime/task.h"

namespace millrace {
namespace {

// Thrown where the test has asked for a crash; never leaves the driver.
struct Crash {};

// A batch of records that the memory log holds.
class LogBatch final : public Batch {
 public:
  LogBatch(const MemoryLog::Partition& log, std::int64_t from, std::size_t count) {
    for (std::size_t i = static_cast<std::size_t>(from); i < log.size() && records_.size() < count;
         ++i) {
      const auto& record = log[i];
      sources_.push_back(std::make_unique<LogHeaders>(record.headers));
      records_.push_back({record.key, record.value, record.timestamp, static_cast<std::int64_t>(i),
                          record.headers.empty() ? nullptr : sources_.back().get()});
    }
  }
  std::span<const RawRecord> records() const override { return records_; }

 private:
  class LogHeaders final : public HeaderSource {
   public:
    explicit LogHeaders(Headers headers) : headers_(std::move(headers)) {}
    Headers headers() const override { return headers_; }

   private:
    Headers headers_;
  };
  std::vector<std::unique_ptr<LogHeaders>> sources_;
  std::vector<RawRecord> records_;
};

void check(const Status& status) {
  if (!status.ok()) throw StatusError(status);
}

template <class T>
T checked(Result<T> result) {
  if (!result) throw StatusError(result.error());
  return *std::move(result);
}

}  // namespace

struct TestDriver::Impl {
  Impl(const Topology& topology, TestDriverOptions the_options)
      : options(std::move(the_options)),
        graph(topology.graph()),
        clock(options.start),
        budget(options.cache_bytes_max) {
    graph->freeze();
    check_changelog_topics(*graph, options.application_id, errors());
    if (const auto status = check_engines(*graph, options.engine); !status.ok())
      throw ConfigError(status.message());
    for (const auto& part : graph->subtopologies()) {
      for (const auto& topic : part.source_topics) log.create_topic(topic, partitions(topic));
      for (const auto& topic : part.sink_topics) log.create_topic(topic, partitions(topic));
    }
    for (const auto& [topic, sources] :
         dead_letter_topics(*graph, errors(), options.application_id)) {
      log.create_topic(topic, partitions(topic));
    }
    start();
  }

  std::int32_t partitions(const std::string& topic) const {
    const auto given = options.partitions.find(topic);
    return given == options.partitions.end() ? 1 : given->second;
  }

  ErrorRules errors() const {
    return {options.on_decode_error,
            options.on_error,
            options.on_produce_error,
            options.error_retries,
            options.error_retry_backoff,
            dead_letter_topic(options.application_id, options.dead_letter_topic),
            options.error_handler};
  }

  void start() {
    for (std::size_t s = 0; s < graph->subtopologies().size(); ++s) {
      const auto& part = graph->subtopologies()[s];
      std::vector<std::int32_t> counts;
      for (const auto& topic : part.source_topics) counts.push_back(log.partitions(topic));
      const std::int32_t tasks_of_part = *std::max_element(counts.begin(), counts.end());
      for (std::int32_t p = 0; p < tasks_of_part; ++p) {
        start_task(plan_task(graph, {static_cast<std::int32_t>(s), p}, counts,
                             options.application_id, errors()),
                   tasks_of_part);
      }
    }
  }

  void start_task(const TaskPlan& plan, std::int32_t partition_count) {
    for (const auto& store : plan.stores) {
      if (store.has_changelog()) log.create_topic(store.changelog.topic, partition_count);
    }
    std::string rebuilt;
    const auto directory = [this](TaskId id,
                                  std::string_view name) -> Result<std::filesystem::path> {
      auto path = options.state_dir / to_string(id) / name;
      std::filesystem::create_directories(path);
      return path;
    };
    const auto discard = [this](TaskId id, std::string_view name) -> Status {
      std::filesystem::remove_all(options.state_dir / to_string(id) / name);
      return {};
    };
    auto engines = checked(TaskEngines::open(plan, options.engine, directory, discard, rebuilt));
    RestoreSettings settings;
    settings.new_lineage = ++lineages;
    settings.reset = options.auto_offset_reset;
    RestoreObserver observer;
    auto begin = checked(
        restore_task(plan, engines, log.committed(plan.inputs), log, clock, settings, observer));
    TaskSettings task_settings;
    task_settings.errors = errors();
    task_settings.message_bytes_max = options.message_bytes_max;
    task_settings.forward_at_commit = options.cache_bytes_max > 0;
    auto task = checked(Task::create(plan, std::move(engines), std::move(begin), log, clock,
                                     task_settings, budget, registry));
    complete(*task, produced([&] { return task->prepare_start(); }));
    tasks.push_back(std::move(task));
  }

  // Processes all there is, over all tasks, until nothing moves any more.
  void run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& task : tasks) moved = pump(*task) || moved;
      if (!options.commit_every_record) continue;
      commit();
    }
  }

  bool pump(Task& task) {
    const auto& inputs = task.plan().inputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (task.buffered(i) > 0) continue;  // A record waits for its next attempt.
      task.add(i, std::make_unique<LogBatch>(log.partition(inputs[i]), task.position(i),
                                             options.batch_records_max));
      task.set_caught_up(i, true);
    }
    const std::size_t done = checked(task.process(task.buffered()));
    return done > 0;
  }

  void commit() {
    for (auto& task : tasks) {
      passing(Step::kProcess);
      const auto prepared = produced([&] { return task->prepare(); });
      if (!prepared) continue;
      complete(*task, prepared);
      check(task->checkpoint_if_due());
    }
  }

  // A commit up to its acknowledgement, with the crashes a test may ask for on the way.
  template <class Prepare>
  std::shared_ptr<const PreparedCommit> produced(const Prepare& prepare) {
    if (crash == Step::kProduce) log.lose_after(crash_changes);
    auto prepared = checked(prepare());
    log.lose_after(std::nullopt);
    if (!prepared) return nullptr;
    passing(Step::kProduce);
    passing(Step::kFlush);
    return prepared;
  }

  void complete(Task& task, const std::shared_ptr<const PreparedCommit>& prepared) {
    const auto point = checked(prepared->judge());
    log.commit(checked(offsets_to_commit(point, prepared->inputs)));
    passing(Step::kCommit);
    task.committed(point);
  }

  void passing(Step step) {
    if (crash != step) return;
    throw Crash{};
  }

  // Runs `work`; a crash or a failure on the way drops all that is in memory.
  template <class Work>
  void guarded(const Work& work) {
    if (dead) return;
    try {
      work();
    } catch (const Crash&) {
      crash.reset();
      drop_tasks();
    } catch (...) {
      drop_tasks();  // A task that has failed is spent.
      throw;
    }
  }

  void drop_tasks() {
    dead = true;
    log.lose_after(std::nullopt);
    tasks.clear();
  }

  const TestDriverOptions options;
  const std::shared_ptr<Graph> graph;
  ManualClock clock;
  CacheBudget budget;
  metrics::Registry registry;
  MemoryLog log;
  std::vector<std::unique_ptr<Task>> tasks;
  std::map<TopicPartition, std::size_t> read;
  std::optional<Step> crash;
  std::size_t crash_changes = 0;
  bool dead = false;
  std::uint64_t lineages = 0;
  std::uint32_t null_key_partition = 0;
};

TestDriver::TestDriver(const Topology& topology, TestDriverOptions options)
    : impl_(std::make_unique<Impl>(topology, std::move(options))) {}

TestDriver::~TestDriver() = default;

void TestDriver::pipe_raw(const std::string& topic, std::optional<std::string> key,
                          std::optional<std::string> value, std::optional<Timestamp> timestamp,
                          const Headers& headers) {
  const std::int32_t count = impl_->log.partitions(topic);
  if (count == 0) throw TopologyError("topic '" + topic + "' is not read by the topology");
  const std::int32_t partition = key ? partition_of(*key, count)
                                     : static_cast<std::int32_t>(impl_->null_key_partition++ %
                                                                 static_cast<std::uint32_t>(count));
  impl_->log.append({topic, partition}, {std::move(key), std::move(value),
                                         timestamp.value_or(impl_->clock.now()), headers});
  impl_->guarded([&] { impl_->run(); });
}

std::vector<TestDriver::RawOutput> TestDriver::records(const std::string& topic) const {
  std::vector<RawOutput> records;
  for (std::int32_t p = 0; p < impl_->log.partitions(topic); ++p) {
    std::int64_t offset = 0;
    for (const auto& record : impl_->log.partition({topic, p})) {
      records.push_back({record.key, record.value, record.timestamp, record.headers, p, offset++});
    }
  }
  return records;
}

std::vector<TestDriver::RawOutput> TestDriver::read_raw(const std::string& topic) {
  std::vector<RawOutput> fresh;
  for (auto& record : records(topic)) {
    std::size_t& read = impl_->read[{topic, record.partition}];
    if (static_cast<std::size_t>(record.offset) != read) continue;
    ++read;
    fresh.push_back(std::move(record));
  }
  return fresh;
}

std::vector<StateCache*> TestDriver::find_store(const std::string& name, const ValueOps& value,
                                                const KeyOps& key, StoreKind kind) {
  if (!impl_->graph->find_store(name)) {
    std::string known;
    for (const auto& store : impl_->graph->stores())
      known += (known.empty() ? "" : ", ") + store.options.name();
    throw UnknownStoreError("there is no store '" + name + "'; the topology has: " + known);
  }
  std::vector<StateCache*> caches;
  for (auto& task : impl_->tasks) {
    if (task->find_store(name) != nullptr) caches.push_back(&task->store(name, value, key, kind));
  }
  return caches;
}

StoreParts TestDriver::parts(const std::string& name, const ValueOps& value, const KeyOps& key,
                             StoreKind kind) {
  const StoreParts parts = [this, name, &value, &key, kind] {
    return find_store(name, value, key, kind);
  };
  static_cast<void>(parts());  // Throws at once for what is wrong.
  return parts;
}

void TestDriver::advance(std::chrono::milliseconds duration) {
  impl_->clock.advance(duration);
  impl_->guarded([&] { impl_->run(); });
}

void TestDriver::commit() {
  impl_->guarded([&] { impl_->commit(); });
}

void TestDriver::checkpoint() {
  impl_->guarded([&] {
    for (auto& task : impl_->tasks) check(task->checkpoint());
    impl_->passing(Step::kCheckpoint);
  });
}

void TestDriver::crash_after(Step step, std::size_t changes) {
  impl_->crash = step;
  impl_->crash_changes = changes;
}

bool TestDriver::crashed() const { return impl_->dead; }

void TestDriver::restart() {
  impl_->tasks.clear();
  impl_->dead = false;
  impl_->guarded([&] {
    impl_->start();
    impl_->run();
  });
}

void TestDriver::close() {
  impl_->guarded([&] {
    impl_->commit();
    for (auto& task : impl_->tasks) check(task->close());
    impl_->tasks.clear();
  });
}

std::string TestDriver::metrics_text() const { return impl_->registry.text(); }

void TestDriver::append(const std::string& topic, std::int32_t partition,
                        std::optional<std::string> key, std::optional<std::string> value,
                        Timestamp timestamp) {
  impl_->log.append({topic, partition}, {std::move(key), std::move(value), timestamp, {}});
}

void TestDriver::forget_committed_offsets() { impl_->log.forget_commits(); }

}  // namespace millrace
