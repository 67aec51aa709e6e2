// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

namespace millrace::testing {

/// A redis-server of a test's own on a unix socket in a temporary folder, ended with this object
/// or, should the test be killed, with the thread that started it.
class RedisServer {
 public:
  /// What survives `stop()` and `start()`.
  enum class Keeps { kNothing, kEveryWrite };

  explicit RedisServer(Keeps keeps = Keeps::kNothing, std::vector<std::string> settings = {})
      : keeps_(keeps), settings_(std::move(settings)) {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-redis-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    directory_ = name;
    start();
  }
  ~RedisServer() {
    stop();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  /// As `RedisOptions::address` takes it.
  [[nodiscard]] std::string address() const { return (directory_ / "socket").string(); }

  /// Returns when it answers.
  void start() {
    std::array<int, 2> ends{};
    BOOST_REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    std::vector<std::string> words{"redis-server",
                                   "--port",
                                   "0",
                                   "--unixsocket",
                                   address(),
                                   "--dir",
                                   directory_.string(),
                                   "--save",
                                   "",
                                   "--daemonize",
                                   "no",
                                   "--loglevel",
                                   "notice",
                                   "--appendonly",
                                   keeps_ == Keeps::kEveryWrite ? "yes" : "no",
                                   "--appendfsync",
                                   "no"};
    words.insert(words.end(), settings_.begin(), settings_.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    process_ = ::fork();
    BOOST_REQUIRE(process_ >= 0);
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(ends[1], STDOUT_FILENO);
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    output_ = ends[0];
    std::string log;
    std::array<char, 4096> part{};
    // "Ready" of a port, "ready" of a socket.
    while (log.find("eady to accept connections") == std::string::npos) {
      const ssize_t count = ::read(output_, part.data(), part.size());
      BOOST_REQUIRE_MESSAGE(count > 0,
                            "redis-server does not start (package redis-server): " + log);
      log.append(part.data(), static_cast<std::size_t>(count));
    }
  }

  /// kill -9.
  void stop() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::kill(process_, SIGCONT);
    ::waitpid(process_, nullptr, 0);
    ::close(output_);
    process_ = 0;
  }

  /// It answers no more, but holds its connections, ...
  void pause() const {
    ::kill(process_, SIGSTOP);
    ::waitpid(process_, nullptr, WUNTRACED);
  }
  /// ... until now.
  void resume() const { ::kill(process_, SIGCONT); }

 private:
  const Keeps keeps_;
  const std::vector<std::string> settings_;
  std::filesystem::path directory_;
  pid_t process_ = 0;
  int output_ = -1;
};

}  // namespace millrace::testing
