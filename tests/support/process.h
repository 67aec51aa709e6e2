// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "tests/actors/http_client.h"

namespace millrace::testing {

/// Asks `condition` again and again; false if it did not become true before `timeout`.
[[nodiscard]] bool wait_until(const std::function<bool()>& condition,
                              std::chrono::milliseconds timeout);

/// Lets time pass where its passing is the input of the test: a random moment to kill at, an
/// outage.
void let_pass(std::chrono::milliseconds time);

/// "prefix-1f3a...": of this run and call only.
[[nodiscard]] std::string unique_name(std::string_view prefix);

/// A folder under $TMPDIR, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

using Environment = std::map<std::string, std::string>;

/// A program that this one started; its stdout and stderr go to a file. Killed at the latest with
/// this object, and when this process ends.
class Process {
 public:
  /// `environment` is added to this process's own, from which MILLRACE_* is left out.
  Process(const std::filesystem::path& program, const Environment& environment,
          std::filesystem::path log);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number);
  /// kill -9, and waits until it is gone.
  void kill();
  /// SIGTERM; the exit code, or nullopt when it has not ended in time.
  std::optional<int> stop(std::chrono::milliseconds timeout = std::chrono::seconds{40});
  /// The exit code, or 128 + the signal that ended it; nullopt: still running after `timeout`.
  std::optional<int> wait(std::chrono::milliseconds timeout);
  [[nodiscard]] bool running() { return !wait(std::chrono::milliseconds{0}); }

  /// What it has written so far.
  [[nodiscard]] std::string log() const;
  [[nodiscard]] bool wait_for_log(const std::string& text, std::chrono::milliseconds timeout);
  /// The port of its HTTP server, from its log; waits for it. Throws when there is none in time.
  [[nodiscard]] std::uint16_t http_port();
  /// Status 0 and an empty body when it cannot be reached.
  [[nodiscard]] HttpClient::Answer get(const std::string& target);

 private:
  std::filesystem::path log_;
  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::optional<int> exit_;
};

/// Its log as it is when it is printed: as the message of a check, after what the check waited for.
std::ostream& operator<<(std::ostream& out, const Process& process);

/// A broker of a test's own, to be stopped and killed: tests/kafka/broker.sh in a temporary folder.
class OwnBroker {
 public:
  /// `settings`: more lines for its server.properties. With a `proxy_port` it has a second
  /// listener, `proxied()`, whose clients are sent to that port of 127.0.0.1.
  /// `environment`: more of what broker.sh understands.
  explicit OwnBroker(const std::string& settings = {}, std::uint16_t proxy_port = 0,
                     const Environment& environment = {});
  ~OwnBroker();
  OwnBroker(const OwnBroker&) = delete;
  OwnBroker& operator=(const OwnBroker&) = delete;

  [[nodiscard]] const std::string& address() const { return address_; }
  /// HOST:PORT.
  [[nodiscard]] std::string proxied() { return run("proxied"); }
  /// "start", "stop", "kill"; the first line that broker.sh prints.
  std::string run(const std::string& verb);
  [[nodiscard]] pid_t pid() const;

 private:
  TemporaryFolder folder_;
  std::string environment_;  // As a shell takes it.
  std::string address_;
};

}  // namespace millrace::testing
