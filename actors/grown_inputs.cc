// SPDX-License-Identifier: Apache-2.0
#include "actors/grown_inputs.h"

#include <algorithm>

namespace millrace {
namespace {

bool writes_changelogs(const AppContext& app, std::size_t subtopology) {
  const auto plan = plan_task(app.graph, {static_cast<std::int32_t>(subtopology), 0},
                              app.subtopologies[subtopology].partitions, app.config.application_id,
                              error_rules(app.config));
  return std::ranges::any_of(plan.stores, &StorePlan::writes_changelog);
}

}  // namespace

Status check_growth(const AppContext& app, const PartitionCounts& counts) {
  for (std::size_t s = 0; s < app.subtopologies.size(); ++s) {
    const auto& topics = app.graph->subtopologies()[s].source_topics;
    for (std::size_t t = 0; t < topics.size(); ++t) {
      const std::int32_t had = app.subtopologies[s].partitions[t];
      const auto found = counts.find(topics[t]);
      if (found == counts.end() || found->second <= had) continue;
      return Status::invalid_argument(
          "source topic '" + topics[t] + "' had " + std::to_string(had) +
          " partitions when this application started, and has at least " +
          std::to_string(found->second) + " now; " +
          (writes_changelogs(app, s)
               ? "its records belong to state in changelogs, whose partition counts must be equal "
                 "to its own: reset the application or recreate the topic"
               : "restart the application, which reads the new ones too"));
    }
  }
  return {};
}

}  // namespace millrace
