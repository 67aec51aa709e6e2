// SPDX-License-Identifier: Apache-2.0
//
// Counts the records of each key. The output is a table: its newest record of a key is the key's
// count, 8 bytes big-endian, as Kafka Streams' Long serde writes it.
#include <millrace/millrace.h>

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
  // A string_view borrows the bytes of the record: values are counted, not looked at.
  const millrace::Topic<std::string, std::string_view> input{from_env("INPUT_TOPIC", "words")};
  const millrace::Topic<std::string, std::int64_t> output{from_env("OUTPUT_TOPIC", "word-counts")};

  millrace::Topology topology;
  topology.stream(input).group_by_key().count("counts").to_stream().to(output);
  return millrace::App{topology, millrace::Config::from_env("count")}.run();
}
