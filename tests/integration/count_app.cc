// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/count_app.h"

#include "millrace/stream.h"

namespace millrace::testing {

Topology count_topology(const CountJob& job) {
  Topology topology;
  topology.stream(Topic<std::string, std::string_view>{job.input})
      .group_by_key()
      .count("counts")
      .to_stream()
      .to(Topic<std::string, std::int64_t>{job.output});
  return topology;
}

Config count_config(const CountJob& job, const std::string& instance, LogLines& log) {
  Config config;
  config.application_id = job.application;
  config.bootstrap_servers = job.kafka.address();
  config.state_dir = job.state_dir(instance).string();
  config.commit_interval = std::chrono::milliseconds{200};
  config.task_restart_limit = 1;
  config.task_restart_backoff = std::chrono::milliseconds{50};
  config.kafka = {{"session.timeout.ms", "6000"}, {"heartbeat.interval.ms", "1000"}};
  config.log = log.options();
  return config;
}

Counts stored_counts(App& app) {
  Counts counts;
  for (const auto& entry : app.store<std::string, std::int64_t>("counts").all())
    counts[entry.key] = entry.value;
  return counts;
}

}  // namespace millrace::testing
