// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "millrace/topology.h"
#include "tests/runtime/task_harness.h"

namespace millrace::testing {

/// The topic that shapes with outputs write to.
inline const Topic<std::string, std::int64_t> simulated_output{"output"};

std::string number_bytes(std::int64_t number);
std::int64_t number_of(const std::string& bytes);

/// What a shape's stores and outputs must be, folded record by record.
struct Reference {
  std::vector<Contents> stores;  // In the order of the plan.
  std::multiset<std::pair<std::string, std::string>> outputs;
  std::string topic;                         // Of the record in hand.
  Timestamp record_time{};                   // Likewise.
  Timestamp stream_time{};                   // With it ...
  Timestamp stream_time_before{};            // ... and without.
  std::map<std::string, Timestamp> written;  // When each key of the one store was, if keys expire.
};

/// A topology of the simulation, with a reference that folds one record into the contents of its
/// stores.
struct Shape {
  std::string name;
  std::function<Topology()> make;
  std::function<void(Reference&, const std::string& key, std::int64_t value)> fold;
  bool skips = false;               // Records divisible by 13 make the function throw.
  bool settles_at_commit = false;   // Stores behind a table follow at the commit only.
  std::chrono::milliseconds ttl{};  // Of the keys, by event time.
  // What a record without value does, of a table on its source topic.
  std::function<void(Reference&, const std::string& key)> fold_null = nullptr;
  bool from_earliest = false;  // What is behind the table must see all of it.
};

/// The history of a versioned store here: longer than any simulation.
inline constexpr std::chrono::milliseconds kSimulatedHistory = std::chrono::hours{24 * 10'000};

/// The shapes there are.
const std::vector<Shape>& simulated_shapes();

/// Removes the keys that are over at the reference's stream time.
void expire(Reference& reference, std::chrono::milliseconds ttl);

}  // namespace millrace::testing
