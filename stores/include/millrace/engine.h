// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/error.h"
#include "millrace/time.h"

namespace millrace {

/// A store within an engine: its place in `EngineOptions::stores`.
using StoreIndex = std::uint32_t;

/// One change of a checkpoint. No value means: delete the key. The bytes are borrowed.
struct EngineChange {
  std::string_view key;
  std::optional<std::string_view> value;
};

/// How far an engine has applied a store's changelog, and of which history.
struct EnginePosition {
  /// The history the state belongs to; see DESIGN.md section 4 (a random number made with the
  /// task's first commit point).
  std::uint64_t lineage = 0;
  /// Offset of the next changelog record to apply: all records below it are in the engine.
  std::int64_t next_offset = 0;
  /// Wall-clock time of the checkpoint.
  Timestamp checkpointed_at{};

  friend bool operator==(const EnginePosition&, const EnginePosition&) = default;
};

/// The part of a checkpoint that concerns one store.
struct StoreCheckpoint {
  StoreIndex store = 0;
  /// Ascending by key (byte order), each key at most once.
  std::span<const EngineChange> changes;
  EnginePosition position;
  /// Everything below this key (exclusive) is removed, before `changes` are applied. How windows
  /// expire. Borrowed.
  std::optional<std::string_view> erase_below = {};
};

/// What an engine writes atomically.
struct Checkpoint {
  std::span<const StoreCheckpoint> stores;
  /// Committed source offsets ("topic-partition" -> next offset) that belong to the state, for
  /// repair tools.
  std::map<std::string, std::int64_t> source_offsets;
};

/// Figures of one store in an engine, for metrics and /status.
struct EngineStatistics {
  std::uint64_t entries_estimate = 0;
  std::uint64_t disk_bytes = 0;  ///< 0 for engines that keep nothing on disk.
  /// Of this process or, for a remote engine, of its server. 0 for engines that leave it to the
  /// page cache.
  std::uint64_t memory_bytes = 0;
};

/// Walks entries in ascending byte order of the key. A consistent cut: later changes of the engine
/// do not show.
class EngineScan {
 public:
  virtual ~EngineScan() = default;
  /// Whether there is a current entry. False at the end and after an error.
  [[nodiscard]] virtual bool valid() const = 0;
  /// Precondition of the next three: `valid()`. The views live until `next()`.
  virtual void next() = 0;
  [[nodiscard]] virtual std::string_view key() const = 0;
  [[nodiscard]] virtual std::string_view value() const = 0;
  /// What ended the scan early, if anything.
  virtual Status status() const = 0;
};

/// Keeps the committed state of one task: ordered maps of bytes, one per store, with the position
/// of each.
///
/// An engine only ever holds committed data; what is newer lives in the state cache. Owned by one
/// task. Not thread-safe: one call at a time, from changing threads.
///
/// Errors: unavailable (disk full, connection lost: retry), corruption (discard and rebuild),
/// fenced (remote engines).
class Engine {
 public:
  virtual ~Engine() = default;

  /// The value under `key`, or nullopt.
  virtual Result<std::optional<std::string>> get(StoreIndex store, std::string_view key) = 0;

  /// Looks up many keys in one call: `values[i]` becomes the value of `keys[i]`. Sizes must be
  /// equal.
  virtual Status multi_get(StoreIndex store, std::span<const std::string_view> keys,
                           std::span<std::optional<std::string>> values) = 0;

  /// Entries with from <= key <= to, both ends inclusive; an absent end is open.
  virtual Result<std::unique_ptr<EngineScan>> scan(StoreIndex store,
                                                   std::optional<std::string_view> from,
                                                   std::optional<std::string_view> to) = 0;

  /// Applies all changes and positions, or none of them. Survives kill -9 once it returns; after a
  /// power loss the engine may hold an older checkpoint, but never a mixture.
  virtual Status apply(const Checkpoint& checkpoint) = 0;

  /// The position of the last checkpoint of a store; nullopt if there was none.
  virtual Result<std::optional<EnginePosition>> position(StoreIndex store) = 0;

  /// Source offsets of the last checkpoint; empty if there was none.
  virtual Result<std::map<std::string, std::int64_t>> source_offsets() = 0;

  /// Removes all entries and the position of a store, so that it can be rebuilt from the log.
  virtual Status clear(StoreIndex store) = 0;

  virtual EngineStatistics statistics(StoreIndex store) = 0;

  /// Writes a copy of the last checkpoint, positions included, that opens as an engine of its own.
  /// `directory` exists and is empty; after an error it may hold a part. invalid_argument from
  /// engines that cannot (this one, unless overridden).
  virtual Status backup(const std::filesystem::path& directory);

  /// Releases files and connections. Idempotent; other calls afterwards return an internal error.
  virtual Status close() = 0;
};

/// Options of a store that its engine alone understands, name to value.
using EngineSettings = std::map<std::string, std::string>;

/// Where and what an engine opens.
struct EngineOptions {
  /// The engine's own directory, such as `<state_dir>/<application_id>/0_3/rocksdb`. Exists, mode
  /// 0700.
  std::filesystem::path directory;
  /// Names of the task's stores. Stores found on disk under other names stay untouched.
  std::vector<std::string> stores;
  /// Whose state it is, for engines that keep that of many: `Config::application_id`, and the
  /// task's id, such as "0_3".
  std::string application_id = {};
  std::string task_id = {};
  /// By store; what `EngineFactory::check_settings` has let pass.
  std::map<std::string, EngineSettings> store_settings = {};
};

/// Makes engines; one factory serves all tasks of a process and may share caches among them.
/// Thread-safe.
class EngineFactory {
 public:
  virtual ~EngineFactory() = default;
  /// Lower-case word used as directory name and in `/status`, such as "rocksdb".
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Whether a task's state is still there after the process has ended.
  [[nodiscard]] virtual bool persistent() const = 0;
  /// Errors: corruption (the caller discards the directory and opens again), unavailable,
  /// invalid_argument.
  virtual Result<std::unique_ptr<Engine>> open(const EngineOptions& options) = 0;
  /// Whether `settings` are good for a store of that name: invalid_argument names store, option and
  /// what is wrong. Unless overridden, none are.
  virtual Status check_settings(const std::string& store, const EngineSettings& settings);
};

/// Bounds of everything RocksDB holds in memory, over all tasks of the process.
struct RocksDbBudget {
  std::size_t block_cache_bytes = std::size_t{64} << 20;
  std::size_t write_buffer_bytes = std::size_t{64} << 20;
};

/// Bounds of a task's LMDB.
struct LmdbOptions {
  /// The file's first limit, at least 1 MiB. It doubles by itself, while no scan is open, ...
  std::size_t map_bytes = std::size_t{256} << 20;
  /// ... up to this one. Address space, not memory; a full file is `unavailable`.
  std::size_t map_bytes_max = std::size_t{64} << 30;
  /// Scans open at the same time, 1 to 10,000; one more is `unavailable`.
  unsigned scans_max = 120;
};

/// Where a Redis is and how long to wait for it.
struct RedisOptions {
  /// "host", "host:port", "[v6]:port", or the path of a unix socket, which begins with '/'.
  std::string address = "localhost:6379";
  /// Empty: the default user.
  std::string user = {};
  /// Empty: no authentication. Never part of a message.
  std::string password = {};
  /// Each 1 ms to 1 h. A call waits at most for one connection and then for each answer.
  std::chrono::milliseconds connect_timeout{1000};
  std::chrono::milliseconds call_timeout{5000};
};

namespace engines {

/// Names of the engines in this build: LMDB and Redis are optional features of it.
[[nodiscard]] const std::vector<std::string_view>& names();

/// State in ordered maps in memory; gone with the process, restored from the changelog. Default of
/// the TestDriver.
[[nodiscard]] std::shared_ptr<EngineFactory> memory();

/// State in RocksDB, one database per task with a column family per store. Default of an App.
///
/// `database_settings` are RocksDB's DBOptions by their own names, verbatim; those of a store
/// (column family options) come by StoreOptions::engine_settings. Bad ones are found by
/// `check_settings`, before anything is opened.
[[nodiscard]] std::shared_ptr<EngineFactory> rocksdb(RocksDbBudget budget = {},
                                                     EngineSettings database_settings = {});

/// State in LMDB, one file per task with a named database per store. Scans and short reads cost
/// little; writes are synced. In a build without LMDB, opening is an invalid_argument.
[[nodiscard]] std::shared_ptr<EngineFactory> lmdb(LmdbOptions options = {});

/// State in a Redis (6 or newer, no cluster), where the next owner of a task finds it. Opening
/// takes the task's next epoch: calls of an earlier owner are then `fenced` and change nothing. In
/// a build without hiredis, opening is an invalid_argument.
[[nodiscard]] std::shared_ptr<EngineFactory> redis(RedisOptions options = {});

}  // namespace engines
}  // namespace millrace
