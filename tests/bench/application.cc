// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/application.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include "millrace/millrace.h"
#include "tests/bench/cluster.h"
#include "tests/bench/interrupt.h"

namespace millrace::bench {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{20};
constexpr std::chrono::seconds kSilenceMax{60};
constexpr std::chrono::seconds kRestoreMax{600};
// The child of `restore` commits so often that few keys change twice in between.
constexpr std::chrono::milliseconds kFillCommitInterval{20};

[[noreturn]] void fail(const std::string& what) { throw StatusError(Status::internal(what)); }

Topology make_topology(const Options& options) {
  Topology topology;
  if (options.workload == "passthrough") {
    const Topic<std::string_view, std::string_view> input{options.input};
    const Topic<std::string_view, std::string_view> output{options.output};
    topology.stream(input).map_values([](std::string_view value) { return value; }).to(output);
  } else {
    const Topic<std::string, std::string_view> input{options.input};
    const Topic<std::string, std::int64_t> output{options.output};
    topology.stream(input).group_by_key().count(kStore).to_stream().to(output);
  }
  return topology;
}

constexpr const char* kCommitDuration = "millrace_commit_duration_seconds";

std::int64_t commits_in(std::string_view exposition) {
  return static_cast<std::int64_t>(
      metric_sum(exposition, "millrace_commits_total", "result=\"ok\""));
}

// The App is asked often enough that the end is seen within kLook, at under 1 % of a core.
void wait_for_records(App& app, const Options& options, Quarters& quarters) {
  const std::string label = "topic=\"" + options.input + "\"";
  std::int64_t consumed = 0;
  auto heard = Steady::now();
  while (consumed < options.records) {
    throw_if_interrupted();
    if (app.wait_for(AppState::kError, kLook) || app.state() == AppState::kError) {
      fail("the application failed: " + app.error());
    }
    const auto now = static_cast<std::int64_t>(
        metric_sum(app.metrics_text(), "millrace_records_consumed_total", label));
    if (now != consumed) heard = Steady::now();
    consumed = now;
    quarters.seen(consumed);
    if (Steady::now() - heard > kSilenceMax) {
      fail("stands still after " + std::to_string(consumed) + " of " +
           std::to_string(options.records) + " records");
    }
  }
}

// Runs this program with --workload count. Its line of JSON goes to stderr.
void fill_changelog(const Options& options) {
  const auto interval = options.commit_interval.value_or(kFillCommitInterval);
  std::vector<std::string> words{"millrace_bench",
                                 "--keep",
                                 "--workload",
                                 "count",
                                 "--bootstrap",
                                 options.bootstrap,
                                 "--input",
                                 options.input,
                                 "--output",
                                 options.output,
                                 "--records",
                                 std::to_string(options.records),
                                 "--store",
                                 "memory",
                                 "--threads",
                                 std::to_string(options.threads),
                                 "--state-dir",
                                 options.state_dir,
                                 "--application-id",
                                 options.application_id,
                                 "--commit-interval-ms",
                                 std::to_string(interval.count())};
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child = 0;
  const int error =
      posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail(std::string{"cannot start the filling process: "} + std::strerror(error));
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail("lost the filling process");
    if (interrupted()) kill(child, SIGTERM);  // It cleans up after itself; then we do.
  }
  throw_if_interrupted();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail("the filling process failed");
}

}  // namespace

Measurement run_application(const Options& options) {
  const Topology topology = make_topology(options);
  App app{topology, make_config(options)};
  Measurement measured;
  Quarters quarters{options.records};
  const auto begin = Steady::now();
  app.start();
  wait_for_records(app, options, quarters);
  std::string figures = app.metrics_text();
  app.stop();
  measured.wall = Steady::now() - begin;
  measured.cpu_s = cpu_seconds();
  if (app.state() != AppState::kStopped) fail("the application did not stop: " + app.error());
  measured.records = options.records;
  // Those of the stop too, where they are still told.
  if (commits_in(app.metrics_text()) >= commits_in(figures)) figures = app.metrics_text();
  measured.commits = commits_in(figures);
  measured.commit_p50_s = histogram_quantile(figures, kCommitDuration, 0.5);
  measured.commit_p99_s = histogram_quantile(figures, kCommitDuration, 0.99);
  measured.cpu_s_per_million_by_quarter = quarters.per_million();
  return measured;
}

Measurement run_restore(const Options& options) {
  if (!options.filled) fill_changelog(options);
  std::filesystem::remove_all(std::filesystem::path{options.state_dir} / options.application_id);

  const Topology topology = make_topology(options);
  App app{topology, make_config(options)};
  const auto begin = Steady::now();
  app.start();
  while (!app.wait_for(AppState::kRunning, kLook)) {
    throw_if_interrupted();
    if (app.state() == AppState::kError) fail("the application failed: " + app.error());
    if (Steady::now() - begin > kRestoreMax) fail("not RUNNING after ten minutes");
  }
  Measurement measured;
  measured.wall = Steady::now() - begin;
  measured.cpu_s = cpu_seconds();
  const std::string figures = app.metrics_text();
  measured.records =
      static_cast<std::int64_t>(metric_sum(figures, "millrace_restore_records_total"));
  if (measured.records == 0) fail("nothing was restored");
  measured.commits = commits_in(figures);
  app.stop();
  return measured;
}

}  // namespace millrace::bench
