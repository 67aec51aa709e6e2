// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/support/kafka_client.h"

namespace millrace::testing {

enum class Guarantee : std::uint8_t { kAtLeastOnce, kExactlyOnce };
[[nodiscard]] std::string to_string(Guarantee guarantee);

/// Encoded value by key: what a store must hold.
using State = std::map<std::string, std::string>;

/// One store of the worker: what it is made of, and where its results go.
struct Stage {
  std::string store;
  std::string changelog;
  std::vector<std::string> inputs;
  /// Empty: its results are not one per record of a key.
  std::string output;
  /// What a record of one of the inputs does to the state.
  std::function<void(State&, const StoredRecord&, const std::string& topic)> apply;
};

/// What the worker does, said once more and independently of it: topics, records to write, and the
/// state and outputs that they must lead to.
struct Workload {
  std::string name;
  /// Written by the harness.
  std::vector<std::string> sources;
  /// All topics but changelogs.
  std::vector<std::string> topics;
  std::vector<Stage> stages;
  /// A record for one of the sources.
  std::function<std::pair<std::string, NewRecord>(std::mt19937_64&)> next;
};

/// `name`: "count" (W1), "pairs" (W2's figures over two co-partitioned inputs) or "transfers" (W3).
[[nodiscard]] Workload make_workload(const std::string& name, const std::string& application);

/// How many records of its key led to this result.
[[nodiscard]] std::int64_t sequence_of(const Workload& workload, const std::string& value);

}  // namespace millrace::testing
