// SPDX-License-Identifier: Apache-2.0
#pragma once

/// A moment at which the fault tests end or stop the process:
/// `MILLRACE_KILL_POINT("after_offsets")`.
///
/// Nothing in the library; tests/faults compiles the few files that have kill points a second time,
/// with MILLRACE_TEST_KILL_POINTS, for its worker.
#ifdef MILLRACE_TEST_KILL_POINTS
namespace millrace {
void kill_point(const char* name);
}
#define MILLRACE_KILL_POINT(name) ::millrace::kill_point(name)
#else
#define MILLRACE_KILL_POINT(name) static_cast<void>(0)
#endif
