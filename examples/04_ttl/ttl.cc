// SPDX-License-Identifier: Apache-2.0
//
// Counts the records of each key that has not been quiet for too long: a key without a record for
// TTL_MS is forgotten, with a null value in the output, and begins anew.
#include <millrace/millrace.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

std::string from_env(const char* variable, const char* otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? value : otherwise;
}

}  // namespace

int main() {
  const millrace::Topic<std::string, std::string_view> input{from_env("INPUT_TOPIC", "visits")};
  const millrace::Topic<std::string, std::int64_t> output{from_env("OUTPUT_TOPIC", "visitors")};
  const std::chrono::milliseconds ttl{std::stoll(from_env("TTL_MS", "1800000"))};
  const auto clock = from_env("TTL_CLOCK", "event") == "wall" ? millrace::TtlClock::kWallClock
                                                              : millrace::TtlClock::kEventTime;

  millrace::Topology topology;
  topology.stream(input)
      .group_by_key()
      .count(millrace::StoreOptions{"counts"}.ttl(ttl, clock))
      .to_stream()
      .to(output);
  return millrace::App{topology, millrace::Config::from_env("visits")}.run();
}
