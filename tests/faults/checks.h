// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tests/faults/workload.h"
#include "tests/support/kafka_client.h"

namespace millrace::testing {

/// A broken invariant: "I5", and what was found instead.
struct Violation {
  std::string invariant;
  std::string what;
};

/// How far a run has come and whether it is right so far.
struct CheckResult {
  std::vector<Violation> violations;
  std::int64_t records = 0;  ///< Inputs below the commit points that were looked at.
};

/// Reads the commit points of `application`, then its inputs, changelogs and outputs with a client
/// of its own, and compares. Right at any moment, also while it runs:
///
/// - I1, I5: each changelog folded up to its committed end is the state that the inputs below the
///   committed offsets lead to.
/// - I1, I3: the results of each of those inputs are in the output; exactly once: per key one more
///   each time, nothing twice.
/// - I4: no committed offset lies behind the end of its log.
/// - I7 for transfers: each debit has its credit, exactly once or at least once.
[[nodiscard]] CheckResult check_results(KafkaClientForTests& kafka, const Workload& workload,
                                        const std::string& application, Guarantee guarantee);

/// Waits until readers of committed records see all that is in a topic now; false: a transaction
/// stays open for longer than it may.
[[nodiscard]] bool is_visible_soon(KafkaClientForTests& kafka, const std::string& topic);

/// Everything that is in the inputs now is committed.
[[nodiscard]] bool all_committed(KafkaClientForTests& kafka, const Workload& workload,
                                 const std::string& application);

}  // namespace millrace::testing
