// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "millrace/config.h"
#include "tests/bench/options.h"

namespace millrace::bench {

/// The settings of the client side of a run, as an App takes them: the environment's, with the
/// options on top.
[[nodiscard]] Config make_config(const Options& options);

/// Records between the ends of a topic. Throws StatusError, also where there is no such topic.
[[nodiscard]] std::int64_t records_in(const Options& options, const std::string& topic);

/// What a run adds to the cluster: its output topic from the start; its changelog and group come by
/// running. All of it is deleted at the end, unless it was there before or `keep` is set.
class Cluster {
 public:
  /// Creates the output topic if the workload writes one. Throws StatusError.
  explicit Cluster(const Options& options);
  /// Deletes. Failures are said on stderr: the measurement holds all the same.
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

 private:
  const Options& options_;
  std::vector<std::string> topics_;
};

}  // namespace millrace::bench
