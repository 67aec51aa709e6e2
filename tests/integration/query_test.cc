// SPDX-License-Identifier: Apache-2.0
//
// Stores of a running App, read by the program and over HTTP; their backup; state that is not used
// any more.
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "millrace/millrace.h"
#include "millrace/processor.h"
#include "runtime/partitioner.h"
#include "tests/actors/http_client.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

using Strings = Processor<std::string, std::string, std::string, std::string>;

Timestamp at(std::int64_t millis) { return from_millis(millis); }

// Keeps each value by window of 10 ms, by session of one record, and as of its time.
class KeepAll final : public Strings {
 public:
  void start(Context& context) override {
    windows_.emplace(context.window_store<std::string, std::string>("windows"));
    sessions_.emplace(context.session_store<std::string, std::string>("sessions"));
    versions_.emplace(context.versioned_store<std::string, std::string>("versions"));
  }
  void process(const Record<std::string, std::string>& record, Context&) override {
    const Timestamp time = record.timestamp();
    windows_->put(record.key(), record.value(), Timestamp{time.time_since_epoch() / 10 * 10});
    sessions_->put(record.key(), {time, time + milliseconds{5}}, record.value());
    versions_->put(record.key(), record.value(), time);
  }

 private:
  std::optional<WindowStore<std::string, std::string>> windows_;
  std::optional<SessionStore<std::string, std::string>> sessions_;
  std::optional<VersionedStore<std::string, std::string>> versions_;
};

Topology timed_topology(const CountJob& job) {
  constexpr milliseconds kRetention{300'000};
  Topology topology;
  topology.window_store<std::string, std::string>(
      "windows", {.size = milliseconds{10}, .retention = kRetention});
  topology.session_store<std::string, std::string>("sessions", {.retention = kRetention});
  topology.versioned_store<std::string, std::string>("versions", {.history_retention = kRetention});
  topology.stream(Topic<std::string, std::string>{job.input})
      .process<KeepAll>(connects("windows", "sessions", "versions"));
  return topology;
}

nlohmann::json get_json(const App& app, const std::string& path) {
  HttpClient client{static_cast<std::uint16_t>(
      std::stoi(app.http_address().substr(app.http_address().rfind(':') + 1)))};
  const auto answer = client.get(path);
  auto body = nlohmann::json::parse(answer.body);
  body["status"] = answer.status;
  return body;
}

BOOST_AUTO_TEST_SUITE(query)

// KF-8, KF-33: what a producer with another partitioner has written is found all the same.
BOOST_AUTO_TEST_CASE(a_key_in_an_unexpected_partition_is_found) {
  constexpr std::int32_t kPartitions = 4;
  CountJob job{kPartitions};
  std::vector<NewRecord> records;
  for (int i = 0; i < 40; ++i) {
    const std::string key = "key-" + std::to_string(i);
    records.push_back({key, "v", (partition_of(key, kPartitions) + 1 + i % 3) % kPartitions});
  }
  job.kafka.produce(job.input, records);
  LogLines log;
  auto config = count_config(job, "one", log);
  config.http = "0";
  App app{count_topology(job), config};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_REQUIRE(job.wait_until_processed());
  const auto counts = app.store<std::string, std::int64_t>("counts");
  for (const auto& record : records) {
    BOOST_TEST(counts.get(*record.key).value_or(0) == 1);
    BOOST_TEST(get_json(app, "/stores/counts/" + *record.key)["value"] == 1);
  }
  BOOST_TEST(!counts.get("absent").has_value());
  BOOST_TEST(get_json(app, "/stores/counts/absent")["status"] == 404);
  for (const char* time : {"as_of", "from", "to"}) {
    const auto refused = get_json(app, "/stores/counts/key-1?" + std::string{time} + "=1");
    BOOST_TEST(refused["status"] == 400);
    BOOST_TEST(refused["error"] == "bad_parameter");
  }
  BOOST_CHECK_EXCEPTION(
      static_cast<void>(counts.all(0)), StatusError,
      [](const StatusError& error) { return error.code() == "invalid_argument"; });
  // Page by page, across partitions.
  std::map<std::string, std::int64_t> seen;
  PageToken token;
  do {
    const auto page = counts.all(7, token);
    BOOST_TEST(page.size() <= 7U);
    for (const auto& entry : page) seen[entry.key] += entry.value;
    token = page.next;
  } while (!token.empty());
  BOOST_TEST(seen.size() == 40U);
  BOOST_TEST((seen == stored_counts(app)));
}

// KF-3, KF-4, KF-8: every kind of store, from a thread of the program and over HTTP; typed errors.
BOOST_AUTO_TEST_CASE(stores_with_times_answer_by_their_own_functions) {
  CountJob job{2};
  std::vector<NewRecord> records;
  for (int i = 0; i < 30; ++i) {
    records.push_back({"key-" + std::to_string(i % 3), std::to_string(i), {}, 1'000 + i * 10});
  }
  job.kafka.produce(job.input, records);
  LogLines log;
  auto config = count_config(job, "one", log);
  config.http = "0";
  App app{timed_topology(job), config};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  BOOST_REQUIRE(job.wait_until_processed());

  using S = std::string;
  const auto windows = app.window_store<S, S>("windows");
  BOOST_TEST(windows.get("key-1", at(1'010)).value_or("") == "1");
  BOOST_TEST(!windows.get("key-1", at(1'000)).has_value());
  const auto fetched = windows.fetch("key-1", at(1'010), at(1'100));
  BOOST_REQUIRE(fetched.size() == 4U);  // 1, 4, 7, 10.
  BOOST_TEST(fetched.entries[3].value == "10");
  BOOST_TEST(to_millis(fetched.entries[3].window_start) == 1'100);
  BOOST_TEST(windows.fetch_all(at(1'000), at(1'100)).size() == 11U);
  BOOST_TEST(windows.fetch_all(at(1'000), at(1'100), 4).size() == 4U);
  const auto sessions = app.session_store<S, S>("sessions");
  const auto found = sessions.find_sessions("key-2", at(1'020), at(1'050));
  BOOST_REQUIRE(found.size() == 2U);
  BOOST_TEST(to_millis(found.entries[1].window.start) == 1'050);
  BOOST_TEST(to_millis(found.entries[1].window.end) == 1'055);
  BOOST_TEST(sessions.fetch("key-2").size() == 10U);
  const auto versions = app.versioned_store<S, S>("versions");
  BOOST_TEST(versions.get("key-0")->value == "27");
  BOOST_TEST(versions.get_as_of("key-0", at(1'059))->value == "3");
  BOOST_TEST(to_millis(versions.get_as_of("key-0", at(1'059))->timestamp) == 1'030);
  BOOST_TEST(!versions.get_as_of("key-0", at(999)).has_value());

  const auto entries = get_json(app, "/stores/windows/key-1?from=1010&to=1100");
  BOOST_TEST(entries["entries"].size() == 4U, entries.dump());
  BOOST_TEST(entries["entries"][3]["start"] == 1'100);
  BOOST_TEST(entries["entries"][3]["value"] == "10");
  BOOST_TEST(get_json(app, "/stores/sessions/key-2")["entries"][9]["end"] == 1'295);
  BOOST_TEST(get_json(app, "/stores/versions/key-0?as_of=1059")["value_bytes"] == 1U);
  BOOST_TEST(get_json(app, "/stores/versions/key-0?as_of=10")["status"] == 404);
  BOOST_TEST(get_json(app, "/stores/windows/key-1?as_of=1059")["status"] == 400);
  BOOST_TEST(get_json(app, "/stores/versions/key-0?from=1")["status"] == 400);
  BOOST_TEST(get_json(app, "/stores/windows/key-1?form=1010")["status"] == 400);

  BOOST_CHECK_THROW(static_cast<void>(app.store<S, S>("windows")), StoreTypeError);
  BOOST_CHECK_THROW(static_cast<void>(app.window_store<S, S>("sessions")), StoreTypeError);
  BOOST_CHECK_THROW(static_cast<void>(app.window_store<S, std::int64_t>("windows")),
                    StoreTypeError);
  BOOST_CHECK_THROW(static_cast<void>(app.versioned_store<S, S>("other")), UnknownStoreError);
}

// KF-9: committed reads show a record once its commit is through, latest ones before.
BOOST_AUTO_TEST_CASE(committed_reads_show_what_a_commit_covers) {
  CountJob job{1};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.commit_interval = hours{1};
  App app{count_topology(job), config};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  job.kafka.produce(job.input, {{"a", "v"}, {"b", "v"}, {"a", "v"}});
  const auto latest = app.store<std::string, std::int64_t>("counts");
  const auto committed = app.store<std::string, std::int64_t>("counts", ReadLevel::kCommitted);
  BOOST_REQUIRE(wait_until([&] { return latest.get("a").value_or(0) == 2; }, seconds{30}));
  BOOST_TEST(!committed.get("a").has_value());
  BOOST_TEST(latest.all().size() == 2U);
  BOOST_TEST(committed.all().empty());
}

// KF-35: a backup of a running App is the state directory of another one, which replays only what
// came after it.
BOOST_AUTO_TEST_CASE(a_backup_of_a_running_app_is_a_state_directory_to_restart_from) {
  for (const std::string engine : {"rocksdb", "lmdb"}) {
    CountJob job{3};
    job.produce(30'000, 3'000);
    LogLines log;
    auto config = count_config(job, "one", log);
    config.engine = engine;
    const auto directory = job.folder() / ("backup-" + engine);
    Counts at_backup;
    {
      App app{count_topology(job), config};
      BOOST_CHECK_THROW(app.backup(directory), BackupError);  // Not started.
      app.start();
      BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
      BOOST_REQUIRE(job.wait_until_processed());
      // What a backup has: the broker may have a commit of which the task has not heard yet.
      const auto committed = app.store<std::string, std::int64_t>("counts", ReadLevel::kCommitted);
      BOOST_REQUIRE(wait_until(
          [&] {
            at_backup.clear();
            for (const auto& entry : committed.all()) at_backup[entry.key] = entry.value;
            return at_backup == job.expected;
          },
          seconds{30}));
      std::size_t told = 0;
      const auto report = app.backup(directory, [&](const BackupProgress& progress) {
        BOOST_TEST(progress.done == ++told);
        BOOST_TEST(progress.total == 3U);
      });
      BOOST_TEST(told == 3U);
      BOOST_REQUIRE(report.tasks.size() == 3U);
      std::int64_t offsets = 0;
      for (const auto& task : report.tasks) {
        for (const auto& [partition, offset] : task.source_offsets) offsets += offset;
        BOOST_TEST(task.changelog_positions.size() == 1U);
        BOOST_TEST(task.changelog_positions.begin()->second > 0);
      }
      BOOST_TEST(offsets == 30'000);
      BOOST_CHECK_EXCEPTION(app.backup(directory), BackupError, [](const BackupError& error) {
        return error.problem == BackupProblem::kNotEmpty;
      });
      const auto state = job.state_dir("one");
      std::filesystem::create_directory_symlink(state, job.folder() / "link");
      for (const auto& inside :
           {state, state / "", state / "backup", state / job.application / "x" / "y",
            job.folder() / "link" / "backup", job.folder(), job.folder() / "none" / ".."}) {
        BOOST_CHECK_EXCEPTION(app.backup(inside), BackupError, [](const BackupError& error) {
          return error.problem == BackupProblem::kStateDirectory;
        });
      }
      BOOST_TEST(!std::filesystem::exists(state / "backup"));
      std::filesystem::remove(job.folder() / "link");
      BOOST_CHECK_EXCEPTION(app.backup("/proc/backup"), BackupError, [](const BackupError& error) {
        return error.problem == BackupProblem::kNotWritable;
      });
      if (std::filesystem::exists("/dev/shm")) {
        const std::string other = "/dev/shm/" + job.application;
        BOOST_CHECK_EXCEPTION(app.backup(other), BackupError, [](const BackupError& error) {
          return error.problem == BackupProblem::kOtherFileSystem;
        });
        std::filesystem::remove_all(other);
      }
      job.produce(600, 300);  // After the backup.
      BOOST_REQUIRE(job.wait_until_processed());
    }
    // Exactly what the stores had.
    Counts copied;
    for (int partition = 0; partition < 3; ++partition) {
      const auto factory = engine == "rocksdb" ? engines::rocksdb() : engines::lmdb();
      auto opened = factory->open(
          {directory / job.application / ("0_" + std::to_string(partition)) / engine, {"counts"}});
      BOOST_REQUIRE(opened.has_value());
      auto scan = (*opened)->scan(0, {}, {});
      for (; (*scan)->valid(); (*scan)->next()) {
        copied[std::string{(*scan)->key()}] =
            from_big_endian(std::string{(*scan)->value().substr(8)});
      }
    }
    BOOST_TEST(difference(at_backup, copied) == "");
    // And a start on it.
    LogLines second;
    auto restarted = count_config(job, "one", second);
    restarted.engine = engine;
    restarted.state_dir = directory.string();
    App app{count_topology(job), restarted};
    app.start();
    BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
    BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
    const auto replayed = replayed_records(second.text());
    BOOST_TEST(replayed >= 300, engine << " replayed " << replayed);
    BOOST_TEST(replayed <= 600, engine << " replayed " << replayed);
  }
}

BOOST_AUTO_TEST_CASE(an_engine_without_files_cannot_be_backed_up_and_nothing_is_left) {
  CountJob job{1};
  LogLines log;
  auto config = count_config(job, "one", log);
  config.engine = "memory";
  App app{count_topology(job), config};
  app.start();
  BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
  const auto directory = job.folder() / "backup";
  BOOST_CHECK_EXCEPTION(app.backup(directory), BackupError, [](const BackupError& error) {
    return error.problem == BackupProblem::kEngine;
  });
  BOOST_TEST(std::filesystem::is_empty(directory));
  BOOST_TEST((app.state() == AppState::kRunning));
}

BOOST_AUTO_TEST_CASE(
    a_new_member_is_ready_when_it_has_partitions_and_the_state_of_moved_ones_is_removed) {
  CountJob job{4};
  job.produce(400, 100);
  LogLines log;
  auto config = count_config(job, "first", log);
  config.state_cleanup_delay = milliseconds{500};
  App first{count_topology(job), config};
  first.start();
  BOOST_REQUIRE(job.wait_until_processed());
  LogLines second_log;
  App second{count_topology(job), count_config(job, "second", second_log)};
  second.start();
  BOOST_REQUIRE(second.wait_for(AppState::kRunning, seconds{40}));
  const auto tasks = nlohmann::json::parse(second.status_json())["tasks"];
  BOOST_REQUIRE(tasks.size() > 0U);
  const auto kept = [&](const std::string& instance, const std::string& task) {
    return std::filesystem::exists(job.state_dir(instance) / job.application / task);
  };
  BOOST_TEST(wait_until(
      [&] {
        return std::none_of(tasks.begin(), tasks.end(),
                            [&](const auto& task) { return kept("first", task["id"]); });
      },
      seconds{30}));
  BOOST_TEST(log.text().find("removing the state of task") != std::string::npos);
  // What either has is left alone.
  for (const auto& [app, instance] : {std::pair{&first, "first"}, std::pair{&second, "second"}}) {
    const auto status = nlohmann::json::parse(app->status_json());
    for (const auto& task : status["tasks"]) BOOST_TEST(kept(instance, task["id"]));
  }
  const auto text = first.metrics_text();
  BOOST_TEST(metric(text, "millrace_task_failures_total").value_or(-1) == 0);
  BOOST_TEST(metric(text, "millrace_stores_rebuilt_total").value_or(-1) == 0);
  BOOST_TEST(metric(text, "millrace_commits_total").has_value());
}

BOOST_AUTO_TEST_CASE(a_bad_option_of_a_store_is_a_typed_error_at_the_start) {
  CountJob job{1};
  LogLines log;
  Topology topology;
  topology.stream(Topic<std::string, std::string_view>{job.input})
      .group_by_key()
      .count(StoreOptions{"counts"}.engine_settings({{"compresion", "kLZ4Compression"}}));
  App app{topology, count_config(job, "one", log)};
  BOOST_CHECK_EXCEPTION(app.start(), ConfigError, [](const ConfigError& error) {
    const std::string text = error.what();
    return text.find("'counts'") != std::string::npos &&
           text.find("'compresion'") != std::string::npos;
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
