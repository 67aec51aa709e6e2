// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/config.h"
#include "millrace/embedded_kafka.h"
#include "millrace/error.h"
#include "millrace/key_value_store.h"
#include "millrace/topology.h"

namespace millrace {

/// The life of an App:
///
///     CREATED -> REBALANCING -> RESTORING -> RUNNING -> PENDING_SHUTDOWN -> STOPPED
///                     ^____________|____________|              |
///                          (a rebalance)               any -> ERROR
///
/// RUNNING only when everything assigned is restored.
enum class AppState : std::uint8_t { kCreated, kRebalancing, kRestoring, kRunning, kPendingShutdown, kStopped, kError };

/// "RUNNING", as logs, metrics and /status spell it.
[[nodiscard]] std::string_view to_string(AppState state);

template <Serializable K, Serializable V>
class StoreQuery;

/// Runs a topology on Kafka: joins the group, restores the partitions it is given, processes, commits, serves queries.
///
/// One object is one member of the consumer group `application_id`. All functions may be called from any thread.
class App {
 public:
  /// Freezes the topology. `embedded`: the in-process broker that `config.bootstrap_servers` points at, if it does.
  App(const Topology& topology, Config config, std::shared_ptr<EmbeddedKafka> embedded = nullptr);
  /// Stops.
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  /// Checks topics, creates changelogs, joins the group; returns before the first assignment.
  ///
  /// Throws ConfigError, TopologyError, StateDirectoryError, BrokerUnavailableError, SourceTopicNotFoundError,
  /// SinkTopicNotFoundError, ChangelogPartitionMismatchError, ChangelogNotFoundError, StatusError; nothing runs then.
  void start();

  /// Stops in order: drains, commits, checkpoints, leaves the group. Returns when it is done or `shutdown_timeout` is over.
  /// Idempotent.
  void stop();

  /// start(), then waits for SIGINT, SIGTERM or an error, then stop(). Never throws: failures are one line on stderr.
  /// Returns the exit code: 0 stopped, 1 failed, 2 bad configuration or topology. Blocks both signals in the calling
  /// thread; call it before other threads are started, or block them there.
  int run();

  /// Everything that would make start() throw, one sentence each; empty: nothing.
  [[nodiscard]] std::vector<std::string> check();

  [[nodiscard]] AppState state() const;
  /// Waits until the state is `state`; false after `timeout`, or at once when it cannot come any more.
  bool wait_for(AppState state, std::chrono::milliseconds timeout);
  /// Why the state is kError; empty otherwise.
  [[nodiscard]] std::string error() const;

  /// The Prometheus exposition, for hosts that have their own server.
  [[nodiscard]] std::string metrics_text() const;
  /// What /status serves: JSON with states, assignment, lag, restore progress and stores.
  [[nodiscard]] std::string status_json() const;
  /// "127.0.0.1:8080" once start() has returned and HTTP is on; else empty.
  [[nodiscard]] std::string http_address() const;

  /// A store, for reading: the partitions that this instance owns. Throws UnknownStoreError or StoreTypeError.
  template <Serializable K, Serializable V>
  [[nodiscard]] StoreQuery<K, V> store(const std::string& name) {
    check_store(name, value_ops<V>(), key_ops<K>());
    return StoreQuery<K, V>{*this, name};
  }

 private:
  template <Serializable K, Serializable V>
  friend class StoreQuery;

  /// One entry as a task answers: encoded.
  struct StoredEntry {
    std::string key;
    std::string value;
    Timestamp timestamp;
  };
  void check_store(const std::string& name, const ValueOps& value, const KeyOps& key) const;
  [[nodiscard]] Result<std::optional<StoredEntry>> query_get(const std::string& store, const std::string& key) const;
  /// Entries of every partition owned; with from <= key <= to.
  [[nodiscard]] Result<std::vector<StoredEntry>> query_range(const std::string& store, std::optional<std::string> from,
                                                             std::optional<std::string> to) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads a store of a running App. Latest values: they include what is processed but not yet committed.
///
/// A cheap handle, good while the App lives; any thread. Answered by the tasks between batches, so a read never sees half
/// a record. Errors: unavailable (restoring, moved away, stopped, or no answer in time).
template <Serializable K, Serializable V>
class StoreQuery {
 public:
  StoreQuery(const App& app, std::string name) : app_(&app), name_(std::move(name)) {}

  /// The value of `key`, nullopt if there is none. Throws NotReadyError.
  [[nodiscard]] std::optional<V> get(const K& key) const { return value_or_throw(try_get(key)); }

  [[nodiscard]] Result<std::optional<V>> try_get(const K& key) const {
    auto entry = app_->query_get(name_, encoded(key));
    if (!entry) return entry.error();
    if (!entry->has_value()) return std::optional<V>{};
    auto value = Serde<V>::decode((*entry)->value);
    if (!value) return value.error();
    return std::optional<V>{*std::move(value)};
  }

  /// Entries with from <= key <= to, both ends inclusive, by partition and byte order of the encoded key; each partition is
  /// one consistent cut. Held in memory. Throws NotReadyError.
  [[nodiscard]] std::vector<KeyValue<K, V>> range(const K& from, const K& to) const {
    return decoded(value_or_throw(app_->query_range(name_, encoded(from), encoded(to))));
  }
  [[nodiscard]] std::vector<KeyValue<K, V>> all() const {
    return decoded(value_or_throw(app_->query_range(name_, {}, {})));
  }

 private:
  static std::string encoded(const K& key) {
    std::string bytes;
    Serde<K>::encode(key, bytes);
    return bytes;
  }
  template <class T>
  static T value_or_throw(Result<T> result) {
    if (result) return *std::move(result);
    if (result.error().code() == Code::kUnavailable) throw NotReadyError(result.error().message());
    throw StatusError(result.error());
  }
  template <class Entries>
  static std::vector<KeyValue<K, V>> decoded(const Entries& entries) {
    std::vector<KeyValue<K, V>> result;
    for (const auto& entry : entries) {
      result.push_back({value_or_throw(Serde<K>::decode(entry.key)), value_or_throw(Serde<V>::decode(entry.value)),
                        entry.timestamp});
    }
    return result;
  }

  const App* app_;
  std::string name_;
};

}  // namespace millrace
