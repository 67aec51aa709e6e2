// SPDX-License-Identifier: Apache-2.0
#include "runtime/changelog_configs.h"

#include <charconv>

#include "runtime/clock_record.h"
#include "runtime/task_plan.h"

namespace millrace {
namespace {

// What the log keeps beyond a store's retention, since brokers count by the clock and stores by
// their records. As in Kafka Streams (windowstore.changelog.additional.retention.ms and its like
// for versioned stores).
constexpr std::chrono::milliseconds kAdditionalRetention = std::chrono::hours{24};

std::string millis(std::chrono::milliseconds duration) { return std::to_string(duration.count()); }

std::optional<std::int64_t> number_of(const std::map<std::string, std::string>& configs,
                                      const std::string& name) {
  const auto found = configs.find(name);
  if (found == configs.end()) return std::nullopt;
  const std::string& text = found->second;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::map<std::string, std::string> changelog_configs(const KeyLayout& layout) {
  // Segments roll by record time, so theirs is as long as can be (reference: durability,
  // Compaction).
  std::map<std::string, std::string> configs{{"cleanup.policy", "compact"},
                                             {"message.timestamp.type", "CreateTime"},
                                             {"retention.ms", "-1"},
                                             {"segment.bytes", "52428800"},
                                             {"segment.ms", "9223372036854775807"},
                                             {"min.compaction.lag.ms", millis(kMinCompactionLag)}};
  if (layout.expires()) {
    configs["cleanup.policy"] = "compact,delete";
    configs["retention.ms"] = millis(layout.retention() + kAdditionalRetention);
  }
  // Compaction keeps one version per key: not before the others have expired.
  if (layout.kind() == StoreKind::kVersioned) {
    configs["min.compaction.lag.ms"] = millis(layout.retention() + kAdditionalRetention);
  }
  return configs;
}

TopicSpec changelog_spec(const Config& config, const StoreSpec& store, std::int32_t partitions) {
  const ChangelogOptions& own = *store.options.changelog();
  TopicSpec spec;
  spec.name = changelog_topic(config.application_id, store.options);
  spec.partitions = partitions;
  spec.replication_factor = own.replication_factor.value_or(config.replication_factor);
  spec.configs = own.topic_configs;
  spec.configs.insert(config.changelog_topic_configs.begin(), config.changelog_topic_configs.end());
  spec.configs.merge(changelog_configs(store.layout));
  return spec;
}

bool may_create_changelog(const Config& config, const StoreOptions& store) {
  return store.changelog()->auto_create.value_or(config.auto_create_topics);
}

std::optional<std::string> starts_empty_warning(const StoreOptions& store) {
  const bool unlogged = !store.changelog();
  if (!unlogged && !store.changelog()->skip_restoration) return std::nullopt;
  return "store " + store.name() +
         (unlogged ? " has no changelog" : " skips restoration (its changelog is not read)") +
         ": each start of a task, also after a failure or a rebalance, clears what is on disk and "
         "begins with an empty store, while the input goes on from its committed offsets";
}

std::optional<std::string> changelog_warning(const std::string& topic, const KeyLayout& layout,
                                             const std::map<std::string, std::string>& configs) {
  const auto policy = configs.find("cleanup.policy");
  if (policy != configs.end() && policy->second.find("delete") != std::string::npos) {
    const std::string found = "changelog " + topic + " has cleanup.policy=" + policy->second;
    if (!layout.expires()) {
      return found + ": records will be deleted by age and cannot be restored; set it to compact";
    }
    const auto retention = number_of(configs, "retention.ms");
    if (retention && *retention >= 0 && *retention < layout.retention().count()) {
      return found + " and retention.ms=" + std::to_string(*retention) +
             ", less than the retention of the store (" + millis(layout.retention()) +
             "): what a restore needs will be deleted; raise it";
    }
  }
  const auto lag = number_of(configs, "min.compaction.lag.ms");
  if (layout.kind() == StoreKind::kVersioned && lag && *lag < layout.retention().count()) {
    return "changelog " + topic + " has min.compaction.lag.ms=" + std::to_string(*lag) +
           ", less than the history of the versioned store (" + millis(layout.retention()) +
           "): a restore will miss versions; raise it";
  }
  if (lag == 0 && policy != configs.end() && policy->second.find("compact") != std::string::npos) {
    return "changelog " + topic +
           " has min.compaction.lag.ms=0: what a crash in the middle of a commit supersedes there "
           "may be compacted away before the next start has written it again; set it to " +
           millis(kMinCompactionLag);
  }
  return std::nullopt;
}

std::optional<std::string> table_topic_warning(const std::string& store, const std::string& topic,
                                               const std::map<std::string, std::string>& configs) {
  const auto policy = configs.find("cleanup.policy");
  if (policy == configs.end() || policy->second.find("delete") == std::string::npos) {
    return std::nullopt;
  }
  return "topic " + topic + " is the changelog of table " + store +
         " and has cleanup.policy=" + policy->second +
         ": rows whose records are deleted by age will be missing after a restore; set it to "
         "compact, or give the table a changelog of its own (StoreOptions::changelog)";
}

std::chrono::milliseconds min_compaction_lag(const std::map<std::string, std::string>& configs) {
  return std::chrono::milliseconds{number_of(configs, "min.compaction.lag.ms").value_or(0)};
}

}  // namespace millrace
