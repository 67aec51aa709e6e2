// SPDX-License-Identifier: Apache-2.0
//
// MILLRACE_TEST_KILL_POINT=NAME[:N[:stop|hold]]: the N-th time (the first, by default) that the
// process comes to the kill point NAME it ends as by kill -9, or stops as by kill -STOP, or only
// the thread that came there stands still until SIGUSR1.
#include "runtime/kill_point.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>

namespace millrace {
namespace {

sigset_t release_signal() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGUSR1);
  return set;
}

// Before there are other threads, which inherit it.
[[maybe_unused]] const bool kBlocked = [] {
  const sigset_t set = release_signal();
  return ::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0;
}();

struct Armed {
  Armed() {
    const char* text = std::getenv("MILLRACE_TEST_KILL_POINT");
    if (text == nullptr) return;
    name = text;
    const auto colon = name.find(':');
    if (colon == std::string::npos) return;
    left = std::stoi(name.substr(colon + 1));
    stops = name.ends_with(":stop");
    holds = name.ends_with(":hold");
    name.resize(colon);
  }

  std::string name;
  std::atomic<int> left{1};
  bool stops = false;
  bool holds = false;
};

}  // namespace

void kill_point(const char* name) {
  static Armed armed;
  if (armed.name != name || --armed.left != 0) return;
  const std::string line = std::string{"kill point "} + name + " reached\n";
  static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));
  if (armed.holds) {
    const sigset_t set = release_signal();
    int released = 0;
    ::sigwait(&set, &released);
    return;
  }
  static_cast<void>(std::raise(armed.stops ? SIGSTOP : SIGKILL));
}

}  // namespace millrace
