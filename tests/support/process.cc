// SPDX-License-Identifier: Apache-2.0
#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace millrace::testing {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLook{20};
constexpr std::chrono::seconds kPatience{30};

std::vector<std::string> merged(const Environment& added) {
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    if (text.starts_with("MILLRACE_") ||
        added.contains(std::string{text.substr(0, text.find('='))}))
      continue;
    entries.emplace_back(text);
  }
  for (const auto& [name, value] : added) entries.push_back(name + "=" + value);
  return entries;
}

}  // namespace

bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  for (;;) {
    if (condition()) return true;
    if (Clock::now() >= deadline) return false;
    let_pass(kLook);
  }
}

void let_pass(std::chrono::milliseconds time) {
  ::poll(nullptr, 0, static_cast<int>(time.count()));
}

std::string unique_name(std::string_view prefix) {
  static std::mt19937_64 random{std::random_device{}()};
  std::ostringstream name;
  name << prefix << '-' << std::hex << random();
  return name.str();
}

TemporaryFolder::TemporaryFolder() {
  std::string path = (std::filesystem::temp_directory_path() / "millrace-it.XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot create " + path);
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Process::Process(const std::filesystem::path& program, const Environment& environment,
                 std::filesystem::path log)
    : log_(std::move(log)) {
  auto entries = merged(environment);
  std::vector<char*> pointers;
  for (auto& entry : entries) pointers.push_back(entry.data());
  pointers.push_back(nullptr);
  std::string name = program.string();
  char* const arguments[] = {name.data(), nullptr};
  const int output = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (output < 0) throw std::runtime_error("cannot write " + log_.string());
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    // Only calls that are safe between fork and exec of a process with threads.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::close_range(STDERR_FILENO + 1, ~0U, 0);  // What is open here is none of its business.
    ::execve(name.c_str(), arguments, pointers.data());
    ::_exit(127);
  }
  ::close(output);
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
}

Process::~Process() {
  kill();
  ::close(pidfd_);
}

void Process::signal(int number) {
  if (!exit_) ::kill(pid_, number);
}

void Process::kill() {
  signal(SIGKILL);
  static_cast<void>(wait(kPatience));
}

std::optional<int> Process::stop(std::chrono::milliseconds timeout) {
  signal(SIGTERM);
  return wait(timeout);
}

std::optional<int> Process::wait(std::chrono::milliseconds timeout) {
  if (exit_) return exit_;
  pollfd ended{pidfd_, POLLIN, 0};
  if (::poll(&ended, 1, static_cast<int>(timeout.count())) <= 0) return std::nullopt;
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_) return std::nullopt;
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_;
}

std::ostream& operator<<(std::ostream& out, const Process& process) { return out << process.log(); }

std::string Process::log() const {
  std::ifstream file{log_};
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool Process::wait_for_log(const std::string& text, std::chrono::milliseconds timeout) {
  const auto found = [&] { return log().find(text) != std::string::npos; };
  return wait_until([&] { return found() || !running(); }, timeout) && found();
}

std::uint16_t Process::http_port() {
  const std::string before = "HTTP on 127.0.0.1:";
  if (!wait_for_log(before, kPatience))
    throw std::runtime_error("no HTTP address in the log: " + log());
  const std::string text = log();
  return static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(before) + before.size())));
}

HttpClient::Answer Process::get(const std::string& target) {
  try {
    return HttpClient{http_port()}.get(target);
  } catch (const std::runtime_error&) {
    return {};
  }
}

OwnBroker::OwnBroker(const std::string& settings, std::uint16_t proxy_port,
                     const Environment& environment) {
  Environment all{{"KAFKA_HEAP", "400m"}, {"KAFKA_SETTINGS", settings}};
  if (proxy_port != 0) all["KAFKA_PROXY_PORT"] = std::to_string(proxy_port);
  for (const auto& [name, value] : environment) all[name] = value;
  for (const auto& [name, value] : all) environment_ += name + "='" + value + "' ";
  run("start");
}

OwnBroker::~OwnBroker() {
  try {
    run("kill");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

std::string OwnBroker::run(const std::string& verb) {
  const std::string command = std::string{MILLRACE_SOURCE_DIR "/tests/kafka/broker.sh "} + verb +
                              " " + (folder_.path() / "kafka").string();
  const auto close = [](FILE* pipe) { ::pclose(pipe); };
  std::unique_ptr<FILE, decltype(close)> pipe{::popen((environment_ + command).c_str(), "r"),
                                              close};
  char line[256] = {};
  std::string output;
  while (pipe != nullptr && std::fgets(line, sizeof line, pipe.get()) != nullptr) output += line;
  if (pipe == nullptr || ::pclose(pipe.release()) != 0)
    throw std::runtime_error(command + " failed");
  output.resize(std::min(output.find('\n'), output.size()));
  if (verb == "start") address_ = output;
  return output;
}

pid_t OwnBroker::pid() const {
  std::ifstream file{folder_.path() / "kafka" / "broker.pid"};
  pid_t pid = -1;
  file >> pid;
  return pid;
}

}  // namespace millrace::testing
