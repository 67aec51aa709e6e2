// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/error_handling.h"

namespace millrace {

/// What a crash may do to outputs. State holds each input record once under both.
enum class Guarantee : std::uint8_t {
  kAtLeastOnce,  ///< Outputs may repeat.
  kExactlyOnce,  ///< Outputs, state and offsets are one transaction.
};

/// Where a partition without a committed offset begins.
enum class OffsetReset : std::uint8_t { kEarliest, kLatest };

/// What becomes of a task that fails again and again.
enum class TaskFailurePolicy : std::uint8_t {
  kStop,  ///< The App ends with the task's error.
  kPark,  ///< The task does nothing until it is assigned anew or the process starts again; the
          ///< other tasks go on. The App is not ready.
};

/// What becomes of committed values that the changelog may have lost (see UnknownValuesError).
enum class UnknownValuePolicy : std::uint8_t {
  kFail,    ///< The task fails: a person must decide.
  kAccept,  ///< What the changelog shows is taken, which may be an older value or none; counted.
};

/// What becomes of an input whose next records brokers have deleted (retention, DeleteRecords)
/// before they were processed.
enum class LostRecordsPolicy : std::uint8_t {
  kFail,  ///< The task fails: a person must decide.
  kSkip,  ///< The input goes on with the first record that is there; logged and counted.
};

enum class LogLevel : std::uint8_t { kTrace, kDebug, kInfo, kWarn, kError, kOff };

/// The names used in settings: "at_least_once", "earliest", "skip", "info", ...
[[nodiscard]] std::string_view to_string(Guarantee guarantee);
[[nodiscard]] std::string_view to_string(OffsetReset reset);
[[nodiscard]] std::string_view to_string(ErrorPolicy policy);
[[nodiscard]] std::string_view to_string(TaskFailurePolicy policy);
[[nodiscard]] std::string_view to_string(UnknownValuePolicy policy);
[[nodiscard]] std::string_view to_string(LostRecordsPolicy policy);
[[nodiscard]] std::string_view to_string(LogLevel level);

/// Where log lines go.
struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  /// Called from any thread, one call at a time. Empty: stderr.
  std::function<void(LogLevel, std::string_view)> sink{};
};

/// One setting as it is in force, for logs and status pages.
struct ConfigEntry {
  std::string key;     ///< As in the file, such as "commit_interval_ms".
  std::string value;   ///< "[hidden]" for secrets.
  std::string origin;  ///< "default", "/etc/bank.conf:3", "environment (MILLRACE_HTTP)", "program".
};

/// `$STATE_DIRECTORY` (its first entry, as systemd sets it), else "./millrace-state".
[[nodiscard]] std::string default_state_dir();

/// The settings of an App: a plain struct to fill in, or to read with `from_env`.
///
/// Each field is also a key of the configuration file (`MILLRACE_CONFIG` names it; lines of
/// `key = value`, `#` begins a comment line) and an environment variable: durations end in `_ms`,
/// so `commit_interval` is `commit_interval_ms` and `MILLRACE_COMMIT_INTERVAL_MS`. Default < file
/// < environment < program.
struct Config {
  /// Names the consumer group, the state directory and the internal topics: 1 to 249 characters of
  /// [a-zA-Z0-9._-], not "." or "..". Required.
  std::string application_id{};
  /// "host:port", comma-separated. `KAFKA_BROKER` is used where MILLRACE_BOOTSTRAP_SERVERS is not
  /// set.
  std::string bootstrap_servers = "localhost:9092";
  /// How brokers name this process in logs and quotas. Empty: the application id.
  std::string client_id{};
  /// Static membership: a restart within the session time-out causes no rebalance. Empty: dynamic.
  std::string group_instance_id{};
  /// Local state; `<state_dir>/<application_id>` is created with mode 0700.
  std::string state_dir = default_state_dir();
  /// A task's state is removed from `state_dir` after it has not been this instance's for so long,
  /// 1 ms to 365 days.
  std::chrono::milliseconds state_cleanup_delay = std::chrono::minutes{10};
  /// "port", "host:port" or "[v6]:port"; loopback where only a port is given. Empty: no server.
  std::string http{};
  Guarantee guarantee = Guarantee::kAtLeastOnce;

  /// 1 ms to 1 h. Not set: 1 s at-least-once, 100 ms exactly-once.
  std::optional<std::chrono::milliseconds> commit_interval{};
  /// Committed changes reach the engines on disk after this time, 1 ms to 1 h, ...
  std::chrono::milliseconds checkpoint_interval = std::chrono::seconds{10};
  /// ... or after this many bytes of one task, 1 KiB to 1 TiB, whichever comes first.
  std::size_t checkpoint_bytes_max = std::size_t{64} << 20;
  /// State cache of the whole process, up to 1 TiB. 0: a table hands on each update.
  std::size_t cache_bytes_max = std::size_t{128} << 20;
  /// Both for the whole process, 64 KiB to 1 TiB.
  std::size_t rocksdb_block_cache_bytes = std::size_t{64} << 20;
  std::size_t rocksdb_write_buffer_bytes = std::size_t{64} << 20;
  /// RocksDB's DBOptions by their own names, verbatim, of every task's database; keys `rocksdb.*`.
  /// Those of a store: StoreOptions::engine_settings.
  std::map<std::string, std::string> rocksdb{};
  /// What stores keep bytes in unless a store says otherwise: "rocksdb", "memory" or, where they
  /// were built in, "lmdb" and "redis".
  std::string engine = "rocksdb";
  /// Of each task's file, 1 MiB to 1 TiB.
  std::size_t lmdb_map_bytes_max = std::size_t{64} << 30;
  /// "host", "host:port", "[v6]:port" or the path of a unix socket.
  std::string redis_address = "localhost:6379";
  /// Empty: the default user. Without a password nobody logs in.
  std::string redis_user{};
  std::string redis_password{};
  /// Worker threads, at most 1024. 0: one per core.
  std::size_t threads = 0;
  /// Tasks restored at once, at most 64. 0: one per core, four at most.
  std::size_t restore_threads = 0;
  /// Changelog records that all restores of the process collect before they write them to engines,
  /// 1 MiB to 1 TiB.
  std::size_t restore_bytes_max = std::size_t{64} << 20;
  /// Records a task processes before others get their turn, 1 to 100,000.
  std::size_t batch_records_max = 1024;
  OffsetReset auto_offset_reset = OffsetReset::kEarliest;

  /// Of internal topics, 1 to 32767. -1: the broker's default.
  int replication_factor = -1;
  /// Extra configs of internal topics, such as {"segment.bytes", "104857600"}; keys `topic.*`.
  std::map<std::string, std::string> changelog_topic_configs{};
  /// false: missing internal topics are errors.
  bool auto_create_topics = true;

  /// Restarts of a failed task in a row without progress before `on_task_failure` applies, 0 to
  /// 1,000,000.
  std::size_t task_restart_limit = 10;
  /// The first pause before a restart; it doubles up to the second. 1 ms to 1 h.
  std::chrono::milliseconds task_restart_backoff{500};
  std::chrono::milliseconds task_restart_backoff_max = std::chrono::seconds{30};
  TaskFailurePolicy on_task_failure = TaskFailurePolicy::kStop;
  UnknownValuePolicy on_unknown_value = UnknownValuePolicy::kFail;
  LostRecordsPolicy on_lost_records = LostRecordsPolicy::kFail;
  /// A record that is processed for longer is named in the log, and the process is not alive
  /// (`/livez`) until it is done; up to 24 h. 0: nobody looks.
  std::chrono::milliseconds handler_timeout = std::chrono::minutes{5};
  /// How long start() waits for a broker, up to 24 h. 0: one attempt.
  std::chrono::milliseconds startup_timeout = std::chrono::seconds{60};
  /// How long an orderly stop may take, up to 24 h, before the rest is left to recovery.
  std::chrono::milliseconds shutdown_timeout = std::chrono::seconds{30};

  /// What becomes of records that cannot be processed, where the source does not say otherwise:
  /// they cannot be decoded, a user function throws, an output is too large.
  ErrorPolicy on_decode_error = ErrorPolicy::kFail;
  ErrorPolicy on_error = ErrorPolicy::kFail;
  ErrorPolicy on_produce_error = ErrorPolicy::kFail;
  /// How often a record whose user function throws is tried again before `on_error` applies, 0 to
  /// 1,000,000. Its task waits meanwhile, other tasks do not.
  std::size_t error_retries = 0;
  /// The first pause before such an attempt; it doubles, up to a minute. 1 ms to 1 h.
  std::chrono::milliseconds error_retry_backoff{200};
  /// Empty: `<application_id>-dead-letter`.
  std::string dead_letter_topic{};
  /// Decides in place of the policies. Empty: they decide.
  ErrorHandler error_handler{};

  /// Constant labels of every metric; keys `metric_labels.*`.
  std::map<std::string, std::string> metric_labels{};
  /// librdkafka properties, verbatim, for every client that has them; keys `kafka.*`, and
  /// `MILLRACE_KAFKA_SESSION_TIMEOUT_MS` for `session.timeout.ms`.
  std::map<std::string, std::string> kafka{};
  LogOptions log{};

  /// What was wrong in the file and the environment; App::start() throws them as a ConfigError.
  std::vector<std::string> errors{};
  /// Where values came from, by key; kept by from_env for describe().
  std::map<std::string, ConfigEntry> sources{};

  /// Reads the file and the environment. Never throws for bad content: see `errors`.
  /// `application_id` is the default where neither has one.
  [[nodiscard]] static Config from_env(std::string application_id = {});

  /// The interval in force, also where none is set.
  [[nodiscard]] std::chrono::milliseconds effective_commit_interval() const;

  /// Everything wrong, one sentence each: `errors`, values out of bounds, properties Millrace owns
  /// and unknown ones. Empty: App::start() will not throw ConfigError.
  [[nodiscard]] std::vector<std::string> problems() const;

  /// What works but should be said in the log, such as TLS without host name verification.
  [[nodiscard]] std::vector<std::string> warnings() const;

  /// Every setting with its value and origin, secrets hidden.
  [[nodiscard]] std::vector<ConfigEntry> describe() const;
};

}  // namespace millrace
