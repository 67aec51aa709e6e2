// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/interrupt.h"

#include <csignal>
#include <stdexcept>

namespace millrace::bench {
namespace {

// A signal handler can reach nothing but a global.
volatile std::sig_atomic_t g_signal = 0;

extern "C" void note(int signal) { g_signal = signal; }

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = &note;  // Without SA_RESTART: waitpid returns.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return g_signal != 0; }

void throw_if_interrupted() {
  if (interrupted()) throw std::runtime_error("interrupted");
}

}  // namespace millrace::bench
