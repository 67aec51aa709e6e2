// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "millrace/engine.h"
#include "millrace/key_layout.h"

namespace millrace {

/// The changelog of one store. What is not set here is as the Config says for all changelogs.
struct ChangelogOptions {
  /// 1 to 249 characters of [a-zA-Z0-9._-], not "." or ".."; of no other use in the topology.
  /// Empty: `<application id>-<store>-changelog`.
  std::string topic = {};
  /// 1 to 32767; -1: the broker's default. Not set: `Config::replication_factor`.
  std::optional<int> replication_factor = {};
  /// Of the topic when it is created: an existing one stays as it is. Key by key they win over
  /// `Config::changelog_topic_configs`.
  std::map<std::string, std::string> topic_configs = {};
  /// false: a missing topic is a ChangelogNotFoundError. Not set: `Config::auto_create_topics`.
  std::optional<bool> auto_create = {};
  /// true: written, never read. Each start of a task (of the process, after a failure, at a
  /// rebalance) clears its part of the store, also on disk, while the input goes on from its
  /// committed offsets: a count begins at 0 again. The changelog has the last value that any run
  /// wrote for a key, one of a crashed commit too; a start without this option restores that.
  /// Not every record is in such a state once. The log says so at start.
  bool skip_restoration = false;
};

/// Names and configures a store. A plain string is a store with the defaults.
class StoreOptions {
 public:
  StoreOptions(std::string name) : name_(std::move(name)) {}
  StoreOptions(const char* name) : name_(name) {}

  /// What the store keeps its bytes in; default: `Config::engine`. The same factory may serve many
  /// stores; those of one task that use the same persistent engine must share it (or ConfigError).
  StoreOptions& engine(std::shared_ptr<EngineFactory> factory) {
    engine_ = std::move(factory);
    return *this;
  }

  /// Options that the store's engine alone understands, verbatim: of RocksDB its column family
  /// options, such as
  /// {{"compression", "kLZ4Compression"}}. Unknown or bad ones make App::start throw ConfigError. A
  /// TestDriver ignores them.
  StoreOptions& engine_settings(EngineSettings settings) {
    engine_settings_ = std::move(settings);
    return *this;
  }

  /// Hands on every update of a table instead of the last one per key at each commit.
  StoreOptions& forward_every_update() {
    forward_every_update_ = true;
    return *this;
  }

  /// Settings of the store's own changelog. The last call of this and `no_changelog` counts. A
  /// table on a topic (`Topology::table`) has one of its own by this call, also with no settings.
  StoreOptions& changelog(ChangelogOptions options) {
    changelog_ = std::move(options);
    changelog_asked_for_ = true;
    return *this;
  }

  /// No topic, nothing to restore. Nothing tells which commit the content on disk belongs to: each
  /// start of a task (of the process, after a failure, at a rebalance) clears it, while the input
  /// goes on from its committed offsets. The log says so at start.
  StoreOptions& no_changelog() {
    changelog_.reset();
    return *this;
  }

  /// Of key-value stores: a key is there for `duration` after its last write, 1 ms or more; written
  /// at t it is gone from t + duration (inclusive) on. Each write begins anew.
  ///
  /// By event time t is the record timestamp that the write has (of count, reduce and aggregate:
  /// the newest record in the value), and the task's stream time tells what is over. By the wall
  /// clock both are the clock's, and the clock's time of the last write stands as the timestamp of
  /// the entry, of its changelog record and of what a table hands on.
  ///
  /// Reads never show what is gone. It is removed as a deletion is, with a tombstone in the
  /// changelog at t + duration, which a table hands on: at the next commit in a store of up to some
  /// 4,000 keys, in larger ones as a pass over the keys comes to it. Another duration applies to
  /// keys that are there already.
  StoreOptions& ttl(std::chrono::milliseconds duration, TtlClock clock = TtlClock::kEventTime) {
    ttl_ = duration;
    ttl_clock_ = clock;
    return *this;
  }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::shared_ptr<EngineFactory>& engine() const { return engine_; }
  [[nodiscard]] const EngineSettings& engine_settings() const { return engine_settings_; }
  [[nodiscard]] bool forwards_every_update() const { return forward_every_update_; }
  /// nullopt: the store has none.
  [[nodiscard]] const std::optional<ChangelogOptions>& changelog() const { return changelog_; }
  /// Whether `changelog` was called.
  [[nodiscard]] bool changelog_asked_for() const { return changelog_asked_for_; }
  [[nodiscard]] std::optional<std::chrono::milliseconds> ttl() const { return ttl_; }
  [[nodiscard]] TtlClock ttl_clock() const { return ttl_clock_; }

 private:
  std::string name_;
  std::shared_ptr<EngineFactory> engine_;
  EngineSettings engine_settings_;
  bool forward_every_update_ = false;
  std::optional<ChangelogOptions> changelog_ = ChangelogOptions{};
  bool changelog_asked_for_ = false;
  std::optional<std::chrono::milliseconds> ttl_;
  TtlClock ttl_clock_ = TtlClock::kEventTime;
};

/// Of a window store. Size and retention are required.
struct WindowStoreOptions {
  /// How long a window is, from its start (inclusive) to its end (exclusive).
  std::chrono::milliseconds size = std::chrono::milliseconds::zero();
  /// How far the starts of the windows kept reach back from the latest one; not shorter than
  /// `size`. For an aggregation with a grace period: size + grace at least.
  std::chrono::milliseconds retention = std::chrono::milliseconds::zero();
  /// A further value for a key and window is kept beside the first, as joins need it.
  bool duplicates = false;
};

/// Of a session store. The retention is required.
struct SessionStoreOptions {
  /// How far the ends of the sessions kept reach back from the latest one; longer than gap + grace.
  std::chrono::milliseconds retention = std::chrono::milliseconds::zero();
};

/// Of a versioned store. The history is required.
struct VersionedStoreOptions {
  /// How far back from the latest time one can ask for values, and put them; 0: the latest only.
  std::chrono::milliseconds history_retention = std::chrono::milliseconds{-1};
};

}  // namespace millrace
