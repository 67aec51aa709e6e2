// SPDX-License-Identifier: Apache-2.0
//
// What stands between a task and the log, the disk and the group in a simulation: the parts behave
// unless they are told to break a rule.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/clock_record.h"
#include "tests/runtime/task_harness.h"

namespace millrace::testing {

/// The disks of two machines, one in use. Loses power, and can be told to forget what a real engine
/// must not.
class SimulatedDisk final : public EngineFactory {
 public:
  explicit SimulatedDisk(std::shared_ptr<KeptEngineFactory> disk) : disk_(std::move(disk)) {}

  std::string_view name() const override { return disk_->name(); }
  bool persistent() const override { return false; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    before_.reset();
    holed_.reset();
    auto engine = disk_->open(options);
    if (!engine) return engine;
    return std::unique_ptr<Engine>{std::make_unique<OnDisk>(*this, *std::move(engine))};
  }

  /// The task goes on at the other machine.
  void move() {
    std::optional<MemoryEngine> here;
    if (disk_->content() != nullptr) here = *disk_->content();
    disk_->lose_disk();
    if (elsewhere_) disk_->put_back(*std::move(elsewhere_));
    elsewhere_ = std::move(here);
  }
  /// The last checkpoint has not reached the disk; with a hole, the one before it has not.
  void lose_power(bool hole) {
    const auto& left = hole ? holed_ : before_;
    if (left) disk_->put_back(*left);
  }
  /// What comes now is no restore.
  void restored() {
    before_.reset();
    holed_.reset();
  }

  bool reads_lag = false;  ///< By one checkpoint.
  /// What a position is taken for.
  std::function<EnginePosition(StoreIndex, EnginePosition)> position_as;

 private:
  class OnDisk final : public Engine {
   public:
    OnDisk(SimulatedDisk& disk, std::unique_ptr<Engine> content)
        : disk_(disk), content_(std::move(content)) {}

    Result<std::optional<std::string>> get(StoreIndex store, std::string_view key) override {
      return read().get(store, key);
    }
    Status multi_get(StoreIndex store, std::span<const std::string_view> keys,
                     std::span<std::optional<std::string>> values) override {
      return read().multi_get(store, keys, values);
    }
    Result<std::unique_ptr<EngineScan>> scan(StoreIndex store, std::optional<std::string_view> from,
                                             std::optional<std::string_view> to) override {
      return read().scan(store, from, to);
    }
    Status apply(const Checkpoint& checkpoint) override {
      disk_.holed_ = std::exchange(disk_.before_, *disk_.disk_->content());
      if (disk_.holed_) {
        if (auto status = disk_.holed_->apply(checkpoint); !status.ok()) return status;
      }
      return content_->apply(checkpoint);
    }
    Result<std::optional<EnginePosition>> position(StoreIndex store) override {
      auto position = content_->position(store);
      if (position && position->has_value() && disk_.position_as)
        *position = disk_.position_as(store, **position);
      return position;
    }
    Result<std::map<std::string, std::int64_t>> source_offsets() override {
      return content_->source_offsets();
    }
    Status clear(StoreIndex store) override { return content_->clear(store); }
    EngineStatistics statistics(StoreIndex store) override { return content_->statistics(store); }
    Status close() override { return content_->close(); }

   private:
    Engine& read() { return disk_.reads_lag && disk_.before_ ? *disk_.before_ : *content_; }

    SimulatedDisk& disk_;
    std::unique_ptr<Engine> content_;
  };

  std::shared_ptr<KeptEngineFactory> disk_;
  std::optional<MemoryEngine> elsewhere_;
  std::optional<MemoryEngine> before_;  // The last checkpoint ...
  std::optional<MemoryEngine> holed_;   // ... and the one before it, with the last.
};

/// Passes records on, unless it is told to change them.
class SimulatedSink final : public Sink {
 public:
  SimulatedSink(Sink& sink, MemoryLog& log) : sink_(sink), log_(log) {}

  Result<Topic> topic(const std::string& name) override {
    auto topic = sink_.topic(name);
    if (topic) names_[topic->id] = name;
    return topic;
  }
  std::shared_ptr<AckTracker> new_tracker() override { return sink_.new_tracker(); }
  Status produce(std::uint32_t topic, std::int32_t partition, std::optional<std::string_view> key,
                 std::optional<std::string_view> value, Timestamp timestamp, const Headers* headers,
                 AckTracker& tracker) override {
    if (drops_clock_records && key == kClockKey) return {};
    std::optional<std::string> latest;
    if (repeats_the_latest && key) {
      for (const auto& record : log_.partition({names_[topic], partition})) {
        if (record.visible() && record.key == key) latest = record.value;
      }
      value = latest;
    }
    return sink_.produce(topic, partition, key, value, timestamp, headers, tracker);
  }

  bool drops_clock_records = false;
  bool repeats_the_latest = false;  ///< Instead of the value that is given.

 private:
  Sink& sink_;
  MemoryLog& log_;
  std::map<std::uint32_t, std::string> names_;
};

/// Reads changelogs, up to where it is told to.
class SimulatedReader final : public ChangelogReader {
 public:
  explicit SimulatedReader(MemoryLog& log) : log_(log) {}

  Result<Ends> ends(const TopicPartition& partition) override { return log_.ends(partition); }
  Result<Ends> ends_now(const TopicPartition& partition) override {
    return log_.ends_now(partition);
  }
  Status read(const TopicPartition& partition, std::int64_t from, std::int64_t to,
              const Apply& apply) override {
    const Apply in_parts = [&](std::span<const LogRecord> records) -> Status {
      while (!records.empty()) {
        const std::size_t count = std::min(records.size(), batch_records);
        std::vector<LogRecord> part{records.begin(), records.begin() + count};
        if (keeps_withdrawn) std::ranges::for_each(part, [](auto& r) { r.withdrawn = false; });
        if (auto status = apply(part); !status.ok()) return status;
        records = records.subspan(count);
      }
      return {};
    };
    return log_.read(partition, from, read_to ? read_to(partition, from, to) : to, in_parts);
  }

  std::function<std::int64_t(const TopicPartition&, std::int64_t from, std::int64_t to)> read_to;
  bool keeps_withdrawn = false;  ///< As if their header were not there.
  std::size_t batch_records = kBatchRecordsMax;

 private:
  MemoryLog& log_;
};

/// Gives up a restore after some batches, as one does whose task is not wanted any more.
class GivingUp final : public RestoreObserver {
 public:
  bool cancelled() const override { return left_ && (*left_)-- == 0; }
  /// nullopt: never.
  void after(std::optional<std::size_t> batches) { left_ = batches; }

 private:
  mutable std::optional<std::size_t> left_;
};

}  // namespace millrace::testing
