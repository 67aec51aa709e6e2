// SPDX-License-Identifier: Apache-2.0
#include "metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

namespace millrace::metrics {
namespace {

struct ProcessStat {
  double start_seconds_after_boot = 0;
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

// Fields of /proc/self/stat as proc(5) numbers them.
constexpr int kFieldState = 3;
constexpr int kFieldStartTime = 22;

std::optional<ProcessStat> read_process_stat() {
  std::ifstream file{"/proc/self/stat"};
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The second field, the program's name, may hold spaces and parentheses: count from its end.
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields{line.substr(name_end + 1)};
  std::string skipped;
  for (int field = kFieldState; field < kFieldStartTime; ++field) fields >> skipped;
  double start_ticks = 0;
  double virtual_bytes = 0;
  double resident_pages = 0;
  if (!(fields >> start_ticks >> virtual_bytes >> resident_pages)) return std::nullopt;
  return ProcessStat{start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK)), virtual_bytes,
                     resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE))};
}

std::optional<double> boot_time_seconds() {
  std::ifstream file{"/proc/stat"};
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return std::nullopt;
}

std::optional<double> count_open_fds() {
  std::error_code error;
  std::filesystem::directory_iterator entry{"/proc/self/fd", error};
  double count = -1;  // The directory itself is open while it is read.
  while (!error && entry != std::filesystem::directory_iterator{}) {
    ++count;
    entry.increment(error);
  }
  if (error) return std::nullopt;
  return count;
}

double max_fds() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return std::numeric_limits<double>::infinity();
  }
  return static_cast<double>(limit.rlim_cur);
}

std::uint64_t cpu_nanos() {
  timespec time{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return 0;
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace

ProcessMetrics::ProcessMetrics(Registry& registry, std::string version)
    : scope_(registry.scope()),
      resident_memory_(
          scope_.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")),
      virtual_memory_(
          scope_.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")),
      open_fds_(scope_.gauge("process_open_fds", "Number of open file descriptors.")),
      max_fds_(scope_.gauge("process_max_fds", "Maximum number of open file descriptors.")),
      cpu_nanos_(scope_.counter("process_cpu_seconds_total",
                                "Total user and system CPU time spent in seconds.", {}, 1e-9)),
      collecting_(registry.on_collect([this] { collect(); })) {
  scope_
      .gauge("millrace_build_info", "Always 1; the label says which version of Millrace runs.",
             {{"version", std::move(version)}})
      .set(1);
  const auto stat = read_process_stat();
  const auto boot_time = boot_time_seconds();
  if (stat && boot_time) {
    scope_
        .gauge("process_start_time_seconds",
               "Start time of the process since the Unix epoch in seconds.")
        .set(*boot_time + stat->start_seconds_after_boot);
  }
}

ProcessMetrics::~ProcessMetrics() = default;

void ProcessMetrics::collect() {
  if (const auto stat = read_process_stat()) {
    resident_memory_.set(stat->resident_bytes);
    virtual_memory_.set(stat->virtual_bytes);
  }
  if (const auto count = count_open_fds()) open_fds_.set(*count);
  max_fds_.set(max_fds());
  cpu_nanos_.raise_to(cpu_nanos());
}

}  // namespace millrace::metrics
