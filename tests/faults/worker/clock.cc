// SPDX-License-Identifier: Apache-2.0
//
// MILLRACE_TEST_CLOCK=FILE: a wall clock that is wrong by as many seconds as FILE holds, a number
// of 8 bytes that may change at any time. Stands before libc's function for the worker and the
// libraries it links; what waits for a time does so inside libc and is not touched.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

using Function = int (*)(clockid_t, timespec*);
using Seconds = std::atomic<std::int64_t>;

const Seconds* map_offset() {
  static const Seconds none{0};
  const char* path = std::getenv("MILLRACE_TEST_CLOCK");
  if (path == nullptr) return &none;
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  void* const mapped = ::mmap(nullptr, sizeof(Seconds), PROT_READ, MAP_SHARED, file, 0);
  ::close(file);
  if (mapped == MAP_FAILED) std::abort();
  return static_cast<const Seconds*>(mapped);
}

}  // namespace

extern "C" int clock_gettime(clockid_t id, timespec* time) {
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "clock_gettime"));
  static const Seconds* const offset = map_offset();
  const int result = real(id, time);
  if (id == CLOCK_REALTIME) time->tv_sec += offset->load(std::memory_order_relaxed);
  return result;
}
