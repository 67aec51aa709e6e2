// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "millrace/config.h"
#include "millrace/engine.h"
#include "millrace/key_value_store.h"
#include "millrace/record.h"
#include "millrace/test_stores.h"
#include "millrace/topology.h"

namespace millrace {

/// The steps of a commit after which a test may let the application crash.
enum class Step : std::uint8_t {
  kProcess,  ///< Records are processed, nothing is produced to changelogs.
  kProduce,  ///< Some of the changes are in the changelog; see TestDriver::crash_after.
  kFlush,    ///< All changes are in the changelog and acknowledged; the offsets are not committed.
  kCommit,   ///< The offsets are committed; the application does not know it yet.
  kCheckpoint,  ///< The engines have the changes.
};

/// How a TestDriver runs the topology.
struct TestDriverOptions {
  std::string application_id = "test";
  /// Partitions per topic; topics not named have one. Reaction and output topics too.
  std::map<std::string, std::int32_t> partitions = {};
  Timestamp start = from_millis(0);
  /// Commit after each piped record, as Kafka Streams' driver does; else only in `commit()`.
  bool commit_every_record = true;
  std::size_t cache_bytes_max = std::size_t{128} << 20;
  std::size_t batch_records_max = 1024;
  ErrorPolicy on_decode_error = ErrorPolicy::kFail;
  ErrorPolicy on_error = ErrorPolicy::kFail;
  ErrorPolicy on_produce_error = ErrorPolicy::kFail;
  /// A record that is tried again has its next attempts in `advance()`.
  std::size_t error_retries = 0;
  std::chrono::milliseconds error_retry_backoff{200};
  std::string dead_letter_topic = {};
  ErrorHandler error_handler = {};
  /// Outputs beyond it are produce errors.
  std::size_t message_bytes_max = 1'000'000;
  OffsetReset auto_offset_reset = OffsetReset::kEarliest;
  /// What stores keep bytes in. A persistent engine needs `state_dir` and survives `restart()`.
  std::shared_ptr<EngineFactory> engine = engines::memory();
  std::filesystem::path state_dir = {};
};

/// Runs a topology in the calling thread: no broker, no threads, a clock that moves when told to.
/// The tasks, commits and restores are those of an App.
///
/// Errors throw: TopologyError, ConfigError, and StatusError for what would fail a task (a handler
/// that throws under the fail policy). After a StatusError the application is as good as crashed:
/// calls do nothing until `restart()`.
class TestDriver {
 public:
  struct RawOutput {
    std::optional<std::string> key;
    std::optional<std::string> value;
    Timestamp timestamp;
    Headers headers;
    std::int32_t partition = 0;
    std::int64_t offset = 0;
  };
  template <class K, class V>
  struct OutputRecord {
    std::optional<K> key;
    std::optional<V> value;
    Timestamp timestamp;
    Headers headers;
    std::int32_t partition = 0;
  };

  explicit TestDriver(const Topology& topology, TestDriverOptions options = {});
  ~TestDriver();
  TestDriver(const TestDriver&) = delete;
  TestDriver& operator=(const TestDriver&) = delete;

  /// Pipes records into a topic. Without a timestamp a record has the clock's time.
  template <class K, class V>
  class Input {
   public:
    Input(TestDriver& driver, std::string topic) : driver_(&driver), topic_(std::move(topic)) {}

    /// Null key, null value: empty optionals.
    void pipe(const std::optional<K>& key, const std::optional<V>& value,
              std::optional<Timestamp> timestamp = {}, const Headers& headers = {}) {
      driver_->pipe_raw(topic_, encoded(key), encoded(value), timestamp, headers);
    }
    /// Bytes as they are, also such that cannot be decoded.
    void pipe_bytes(std::optional<std::string> key, std::optional<std::string> value,
                    std::optional<Timestamp> timestamp = {}) {
      driver_->pipe_raw(topic_, std::move(key), std::move(value), timestamp, {});
    }

   private:
    template <class T>
    static std::optional<std::string> encoded(const std::optional<T>& value) {
      if (!value) return std::nullopt;
      std::string bytes;
      Serde<T>::encode(*value, bytes);
      return bytes;
    }
    TestDriver* driver_;
    std::string topic_;
  };
  template <class K, class V>
  [[nodiscard]] Input<K, V> input(const Topic<K, V>& topic) {
    return {*this, topic.name()};
  }

  /// Reads what was written to a topic since the last read, partition by partition.
  template <class K, class V>
  class Output {
   public:
    Output(TestDriver& driver, std::string topic) : driver_(&driver), topic_(std::move(topic)) {}

    [[nodiscard]] std::vector<OutputRecord<K, V>> read_all() {
      std::vector<OutputRecord<K, V>> records;
      for (auto& raw : driver_->read_raw(topic_)) {
        records.push_back({decoded<K>(raw.key), decoded<V>(raw.value), raw.timestamp, raw.headers,
                           raw.partition});
      }
      return records;
    }

   private:
    template <class T>
    static std::optional<T> decoded(const std::optional<std::string>& bytes) {
      if (!bytes) return std::nullopt;
      auto value = Serde<T>::decode(*bytes);
      if (!value) throw StatusError(value.error());
      return *std::move(value);
    }
    TestDriver* driver_;
    std::string topic_;
  };
  template <class K, class V>
  [[nodiscard]] Output<K, V> output(const Topic<K, V>& topic) {
    return {*this, topic.name()};
  }

  /// A store over all partitions. Latest values, also those not committed.
  template <Serializable K, Serializable V>
  class Store {
   public:
    Store(TestDriver& driver, std::string name) : driver_(&driver), name_(std::move(name)) {}

    [[nodiscard]] std::optional<V> get(const K& key) const {
      std::string bytes;
      Serde<K>::encode(key, bytes);
      for (StateCache* cache : caches()) {
        const StateEntry& entry = cache->load(bytes);
        if (entry.present()) return *static_cast<const V*>(entry.value());
      }
      return std::nullopt;
    }
    [[nodiscard]] std::optional<Timestamp> timestamp(const K& key) const {
      std::string bytes;
      Serde<K>::encode(key, bytes);
      for (StateCache* cache : caches()) {
        const StateEntry& entry = cache->load(bytes);
        if (entry.present()) return entry.timestamp();
      }
      return std::nullopt;
    }
    /// Everything, partition by partition in byte order of the encoded key.
    [[nodiscard]] std::vector<KeyValue<K, V>> all() const {
      std::vector<KeyValue<K, V>> entries;
      for (StateCache* cache : caches()) {
        for (auto entry : KeyValueRange<K, V>{cache->scan({}, {})})
          entries.push_back(std::move(entry));
      }
      return entries;
    }

   private:
    [[nodiscard]] std::vector<StateCache*> caches() const {
      return driver_->find_store(name_, value_ops<V>(), key_ops<K>(), StoreKind::kKeyValue);
    }
    TestDriver* driver_;
    std::string name_;
  };
  /// Throws UnknownStoreError or StoreTypeError.
  template <Serializable K, Serializable V>
  [[nodiscard]] Store<K, V> store(const std::string& name) {
    static_cast<void>(find_store(name, value_ops<V>(), key_ops<K>(), StoreKind::kKeyValue));
    return {*this, name};
  }

  /// The other kinds. They throw UnknownStoreError or StoreTypeError, also for a store of another
  /// kind.
  template <Serializable K, Serializable V>
  [[nodiscard]] TestWindowStore<K, V> window_store(const std::string& name) {
    return TestWindowStore<K, V>{parts(name, value_ops<V>(), key_ops<K>(), StoreKind::kWindow)};
  }
  template <Serializable K, Serializable A>
  [[nodiscard]] TestSessionStore<K, A> session_store(const std::string& name) {
    return TestSessionStore<K, A>{parts(name, value_ops<A>(), key_ops<K>(), StoreKind::kSession)};
  }
  template <Serializable K, Serializable V>
  [[nodiscard]] TestVersionedStore<K, V> versioned_store(const std::string& name) {
    return TestVersionedStore<K, V>{
        parts(name, value_ops<detail::Version<V>>(), key_ops<K>(), StoreKind::kVersioned)};
  }

  /// Moves the wall clock.
  void advance(std::chrono::milliseconds duration);
  /// Commits every task; then checkpoints those that are due.
  void commit();
  /// Checkpoints every task.
  void checkpoint();

  /// Lets the application crash the next time a task passes `step`: everything in memory is gone,
  /// the topics stay. The first commit of a restart passes kProduce, kFlush and kCommit too. With
  /// kProduce, only the first `changes` of the changes reach the changelog. Calls do nothing then
  /// until `restart()`.
  void crash_after(Step step, std::size_t changes = 1);
  /// Whether the application has crashed or failed and awaits `restart()`.
  [[nodiscard]] bool crashed() const;
  /// Starts the application again, after a crash or a clean close, over the same topics.
  void restart();
  /// Closes all tasks cleanly.
  void close();

  /// The Prometheus exposition, as an App's.
  [[nodiscard]] std::string metrics_text() const;
  /// Records of a topic, changelogs included, from offset 0 on; `read_all` does not change it.
  [[nodiscard]] std::vector<RawOutput> records(const std::string& topic) const;
  /// Writes into any topic as a stranger would: a foreign record in a changelog, say.
  void append(const std::string& topic, std::int32_t partition, std::optional<std::string> key,
              std::optional<std::string> value, Timestamp timestamp);
  /// Forgets the committed offsets, as a broker does after their retention.
  void forget_committed_offsets();

 private:
  void pipe_raw(const std::string& topic, std::optional<std::string> key,
                std::optional<std::string> value, std::optional<Timestamp> timestamp,
                const Headers& headers);
  [[nodiscard]] std::vector<RawOutput> read_raw(const std::string& topic);
  [[nodiscard]] std::vector<StateCache*> find_store(const std::string& name, const ValueOps& value,
                                                    const KeyOps& key, StoreKind kind);
  [[nodiscard]] StoreParts parts(const std::string& name, const ValueOps& value, const KeyOps& key,
                                 StoreKind kind);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
