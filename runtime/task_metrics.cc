// SPDX-License-Identifier: Apache-2.0
#include "runtime/task_metrics.h"

namespace millrace {

TaskMetrics::TaskMetrics(metrics::Registry& registry, const TaskPlan& plan)
    : scope_(registry.scope()), task_(to_string(plan.id)) {
  const metrics::Labels task{{"task", task_}};
  for (const auto& input : plan.inputs) {
    const metrics::Labels labels{{"topic", input.topic},
                                 {"partition", std::to_string(input.partition)}};
    inputs_.push_back(
        {scope_.counter("millrace_records_consumed_total", "Records taken from input partitions.",
                        labels),
         scope_.gauge("millrace_consumer_lag_records",
                      "Records between the position and the end of an input partition.", labels),
         scope_.gauge("millrace_consumer_committed_offset",
                      "Committed offset of an input partition.", labels)});
  }
  for (const auto& plan_store : plan.stores) {
    const auto& name = plan.graph->stores()[plan_store.store].options.name();
    const metrics::Labels labels{{"store", name}, {"partition", std::to_string(plan.id.partition)}};
    stores_.push_back(
        {scope_.gauge("millrace_store_entries_estimate", "About how many entries a store has.",
                      labels),
         scope_.gauge("millrace_store_disk_bytes", "Bytes of a store on disk.", labels),
         scope_.gauge("millrace_store_cache_bytes", "Bytes of a store in the state cache.", labels),
         scope_.gauge("millrace_store_dirty_bytes",
                      "Bytes of entries changed since the last commit.", labels),
         scope_.gauge("millrace_store_uncheckpointed_bytes",
                      "Bytes of committed changes that the engine lacks.", labels),
         scope_.counter("millrace_store_cache_hits_total", "Lookups that the state cache answered.",
                        labels),
         scope_.counter("millrace_store_cache_misses_total", "Lookups that asked the engine.",
                        labels),
         scope_.counter("millrace_store_expired_keys_total",
                        "Keys removed because their time to live was over.", labels)});
  }
  static constexpr std::array<const char*, 6> kReasons{"null_key",   "null_value", "decode_error",
                                                       "user_error", "expired",    "produce_error"};
  for (std::size_t i = 0; i < kReasons.size(); ++i) {
    dropped_[i] = &scope_.counter("millrace_records_dropped_total",
                                  "Records that went no further, by reason.",
                                  {{"task", task_}, {"reason", kReasons[i]}});
  }
  dead_letters_ = &scope_.counter("millrace_dead_letters_total",
                                  "Records written to a dead-letter topic.", task);
  retries_ = &scope_.counter("millrace_record_retries_total",
                             "Further attempts at records whose user function threw.", task);
  changes_ =
      &scope_.counter("millrace_changelog_records_total", "Records written to changelogs.", task);
  checkpoints_ =
      &scope_.counter("millrace_checkpoints_total", "Checkpoints written to engines.", task);
  gap_seconds_ = &scope_.gauge(
      "millrace_task_gap_seconds",
      "Longest time without progress while there was lag, since the task runs.", task);
}

metrics::Counter& TaskMetrics::produced(const std::string& topic) {
  return scope_.counter("millrace_records_produced_total", "Records sent to output topics.",
                        {{"topic", topic}, {"task", task_}});
}

}  // namespace millrace
