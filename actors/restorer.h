// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <memory>
#include <random>

#include "actors/app_context.h"
#include "actors/messages.h"
#include "runtime/kafka/admin.h"
#include "runtime/kafka/changelog_consumer.h"

namespace millrace {

/// What the Restorer holds; destroyed when the actor quits.
struct RestorerState {
  static constexpr const char* name = "millrace.restorer";
  std::shared_ptr<AppContext> app;
  std::unique_ptr<ChangelogConsumer> reader;
  std::unique_ptr<TopicAdmin> admin;
  std::shared_ptr<const RestoreOrder> order;  // Of the request in hand.
  std::size_t bytes_max = 0;
  std::random_device random;
  metrics::Counter* records = nullptr;
  metrics::Counter* rebuilt = nullptr;
  metrics::Counter* unknown = nullptr;
  metrics::Counter* lost = nullptr;
};

/// Opens the engines of tasks and brings them to their committed ends, one task after the other. An
/// App has several.
///
/// Detached: a restore blocks for as long as it takes, and is cancelled through its order.
class Restorer final : public RestorerHandle::stateful_base<RestorerState> {
 public:
  using Base = RestorerHandle::stateful_base<RestorerState>;
  /// `bytes_max`: changelog records collected before they are written.
  Restorer(caf::actor_config& config, std::shared_ptr<AppContext> app, std::size_t bytes_max);
  RestorerHandle::behavior_type make_behavior() override;

 private:
  Result<ChangelogConsumer*> reader(std::shared_ptr<const RestoreOrder> order);
  LogEnds ends(const Changelogs& changelogs);
  PartitionCountsPtr counts(const TopicNames& topics);
  Result<RestoredTaskPtr> restore(const RestoreRequest& request);
  Result<TaskEngines> open_engines(const TaskPlan& plan, std::string rebuilt);
  void report(const TaskPlan& plan, const TaskStart& start, std::chrono::nanoseconds took);
};

}  // namespace millrace
