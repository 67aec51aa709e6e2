// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/backup.h"
#include "millrace/config.h"
#include "millrace/embedded_kafka.h"
#include "millrace/error.h"
#include "millrace/store_query.h"
#include "millrace/topology.h"

namespace millrace {

/// The life of an App:
///
///     CREATED -> REBALANCING -> RESTORING -> RUNNING -> PENDING_SHUTDOWN -> STOPPED
///                     ^____________|____________|              |
///                          (a rebalance)               any -> ERROR
///
/// RUNNING only when everything assigned is restored.
enum class AppState : std::uint8_t {
  kCreated,
  kRebalancing,
  kRestoring,
  kRunning,
  kPendingShutdown,
  kStopped,
  kError
};

/// "RUNNING", as logs, metrics and /status spell it.
[[nodiscard]] std::string_view to_string(AppState state);

struct AppContext;

/// Runs a topology on Kafka: joins the group, restores the partitions it is given, processes,
/// commits, serves queries.
///
/// One object is one member of the consumer group `application_id`. All functions may be called
/// from any thread.
class App {
 public:
  /// Freezes the topology. `embedded`: the in-process broker that `config.bootstrap_servers` points
  /// at, if it does.
  App(const Topology& topology, Config config, std::shared_ptr<EmbeddedKafka> embedded = nullptr);
  /// Stops.
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  /// Checks topics, creates changelogs, joins the group; returns before the first assignment.
  ///
  /// Throws ConfigError, TopologyError, StateDirectoryError, BrokerUnavailableError,
  /// SourceTopicNotFoundError, SinkTopicNotFoundError, ChangelogPartitionMismatchError,
  /// ChangelogNotFoundError, DeadLetterTopicNotFoundError, StatusError; nothing runs then.
  void start();

  /// Stops in order: drains, commits, checkpoints, leaves the group. After `shutdown_timeout` it
  /// waits for nothing but its threads: a user function that does not return holds it up.
  /// Idempotent.
  void stop();

  /// start(), then waits for SIGINT, SIGTERM or an error, then stop(). Never throws: failures are
  /// one line on stderr. Returns the exit code: 0 stopped, 1 failed, 2 bad configuration or
  /// topology. A stop that lasts 5 s longer than `shutdown_timeout` ends the process, with 1: a
  /// user function that hangs cannot be ended otherwise. Blocks both signals in the calling thread;
  /// call it before other threads are started, or block them there.
  int run();

  /// Everything that would make start() throw, one sentence each; empty: nothing.
  [[nodiscard]] std::vector<std::string> check();

  [[nodiscard]] AppState state() const;
  /// Waits until the state is `state`; false after `timeout`, or at once when it cannot come any
  /// more.
  bool wait_for(AppState state, std::chrono::milliseconds timeout);
  /// Why the state is kError; empty otherwise.
  [[nodiscard]] std::string error() const;

  /// The Prometheus exposition, for hosts that have their own server.
  [[nodiscard]] std::string metrics_text() const;
  /// What /status serves: JSON with states, assignment, lag, restore progress and stores.
  [[nodiscard]] std::string status_json() const;
  /// "127.0.0.1:8080" once start() has returned and HTTP is on; else empty.
  [[nodiscard]] std::string http_address() const;

  /// Makes a backup of all tasks of this instance while they run: each task writes its stores, as
  /// of its last commit, between two batches. The directory, which must be empty or absent, is then
  /// a `state_dir`: an App started on it replays the changelogs from `BackupReport::tasks` on.
  /// RocksDB's files are shared by hard links, so it has to be on the file system of the state;
  /// LMDB's are copied, and its task waits for that. Blocks. Throws BackupError.
  BackupReport backup(const std::filesystem::path& directory, const BackupListener& listener = {});

  /// A store, for reading (store_query.h): the partitions that this instance owns. `level`: the
  /// latest values, which a crash may take back, or what is committed. Throw UnknownStoreError or
  /// StoreTypeError, also for another kind of store.
  template <Serializable K, Serializable V>
  [[nodiscard]] StoreQuery<K, V> store(const std::string& name,
                                       ReadLevel level = ReadLevel::kLatest) const {
    check_store(name, value_ops<V>(), key_ops<K>(), StoreKind::kKeyValue);
    return {*this, name, level};
  }
  template <Serializable K, Serializable V>
  [[nodiscard]] WindowStoreQuery<K, V> window_store(const std::string& name,
                                                    ReadLevel level = ReadLevel::kLatest) const {
    check_store(name, value_ops<V>(), key_ops<K>(), StoreKind::kWindow);
    return {*this, name, level};
  }
  template <Serializable K, Serializable A>
  [[nodiscard]] SessionStoreQuery<K, A> session_store(const std::string& name,
                                                      ReadLevel level = ReadLevel::kLatest) const {
    check_store(name, value_ops<A>(), key_ops<K>(), StoreKind::kSession);
    return {*this, name, level};
  }
  template <Serializable K, Serializable V>
  [[nodiscard]] VersionedStoreQuery<K, V> versioned_store(
      const std::string& name, ReadLevel level = ReadLevel::kLatest) const {
    check_store(name, value_ops<detail::Version<V>>(), key_ops<K>(), StoreKind::kVersioned);
    return {*this, name, level};
  }

 private:
  friend class StoreReads;

  void check_store(const std::string& name, const ValueOps& value, const KeyOps& key,
                   StoreKind kind) const;
  [[nodiscard]] AppContext& context() const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
