// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "millrace/graph.h"
#include "millrace/key_layout.h"
#include "runtime/kafka/admin.h"

namespace millrace {

/// With what a store's changelog is created, before the user's own configs (KF-24).
[[nodiscard]] std::map<std::string, std::string> changelog_configs(const KeyLayout& layout);

/// How a store's changelog is created: what the store says wins over the Config, which wins over
/// `changelog_configs` (KF-21). Precondition: the store has a changelog.
[[nodiscard]] TopicSpec changelog_spec(const Config& config, const StoreSpec& store,
                                       std::int32_t partitions);

/// Whether a missing changelog may be created. Precondition: the store has a changelog.
[[nodiscard]] bool may_create_changelog(const Config& config, const StoreOptions& store);

/// What a store that starts empty means: a line for the log, or nothing.
[[nodiscard]] std::optional<std::string> starts_empty_warning(const StoreOptions& store);

/// What is wrong with the configs that a changelog has: a line for the log, or nothing.
[[nodiscard]] std::optional<std::string> changelog_warning(
    const std::string& topic, const KeyLayout& layout,
    const std::map<std::string, std::string>& configs);

/// The same of a topic that is the changelog of a table, too.
[[nodiscard]] std::optional<std::string> table_topic_warning(
    const std::string& store, const std::string& topic,
    const std::map<std::string, std::string>& configs);

/// How long brokers keep what a record of a changelog with these configs supersedes, at least; 0,
/// Kafka's default, where they do not say.
[[nodiscard]] std::chrono::milliseconds min_compaction_lag(
    const std::map<std::string, std::string>& configs);

}  // namespace millrace
