// SPDX-License-Identifier: Apache-2.0
#include "actors/restorer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "actors/handlers.h"

namespace millrace {
namespace {

// A restore that takes long says in the log where it is, this often.
constexpr std::chrono::seconds kLogInterval{10};

// Of a look, for each question: the next look comes soon enough.
constexpr std::chrono::milliseconds kLookTimeout{1000};

// Tells the status board, the metrics and the log how far a restore is, and when it will be done if
// it goes on so.
class Progress final : public RestoreObserver {
 public:
  Progress(AppContext& app, const TaskPlan& plan, const RestoreOrder& order)
      : app_(app), plan_(plan), order_(order), scope_(app.registry.scope()) {}

  bool cancelled() const override { return order_.cancelled(); }

  void progress(std::size_t store, std::int64_t position, std::int64_t end) override {
    const auto now = app_.clock.elapsed();
    if (store != store_) {
      store_ = store;
      began_ = logged_ = now;
      from_ = position;
    }
    const double eta_s = seconds_left(position, end, now);
    app_.board.update_task(plan_.id, [&](TaskStatus& status) {
      status.stores[store].restore_position = position;
      status.stores[store].restore_end = end;
      status.stores[store].restore_eta_s = eta_s;
    });
    const auto& name = plan_.graph->stores()[plan_.stores[store].store].options.name();
    const metrics::Labels labels{{"store", name},
                                 {"partition", std::to_string(plan_.id.partition)}};
    scope_
        .gauge("millrace_restore_remaining_records",
               "Changelog offsets between a restore's position and its end.", labels)
        .set(static_cast<double>(end - position));
    scope_
        .gauge("millrace_restore_eta_seconds",
               "Time until a restore is done at its mean rate so far.", labels)
        .set(eta_s);
    if (now - logged_ < kLogInterval) return;
    logged_ = now;
    app_.log.info("task " + to_string(plan_.id) + ": store " + name + " is being restored, " +
                  std::to_string(end - position) + " of " + std::to_string(end - from_) +
                  " changelog offsets left, about " + std::to_string(std::llround(eta_s)) + " s");
  }

 private:
  double seconds_left(std::int64_t position, std::int64_t end, std::chrono::nanoseconds now) const {
    if (position <= from_) return 0;  // Nothing to go by yet.
    const double took = std::chrono::duration<double>(now - began_).count();
    return took * static_cast<double>(end - position) / static_cast<double>(position - from_);
  }

  AppContext& app_;
  const TaskPlan& plan_;
  const RestoreOrder& order_;
  metrics::Scope scope_;
  std::optional<std::size_t> store_;
  std::int64_t from_ = 0;
  std::chrono::nanoseconds began_{};
  std::chrono::nanoseconds logged_{};
};

}  // namespace

Restorer::Restorer(caf::actor_config& config, std::shared_ptr<AppContext> app,
                   std::size_t bytes_max)
    : Base(config) {
  state.app = std::move(app);
  state.bytes_max = bytes_max;
  auto& registry = state.app->registry;
  state.records =
      &registry.counter("millrace_restore_records_total", "Changelog records applied by restores.");
  state.rebuilt = &registry.counter("millrace_stores_rebuilt_total",
                                    "Engines discarded and rebuilt from the changelog.");
  state.unknown = &registry.counter("millrace_unknown_values_total",
                                    "Keys whose committed values a changelog may have lost, "
                                    "accepted as it shows them (setting on_unknown_value).");
  state.lost = &registry.counter("millrace_lost_records_total",
                                 "Offsets of inputs that were deleted before they were processed, "
                                 "passed over (setting on_lost_records).");
  install_handlers(this, state.app->log);
}

RestorerHandle::behavior_type Restorer::make_behavior() {
  return {
      [this](restore_atom, const RestoreRequestPtr& request) -> RestoreAnswer {
        auto restored = restore(*request);
        if (!restored) return {nullptr, restored.error()};
        return {*std::move(restored), {}};
      },
      [this](ends_atom, const Changelogs& changelogs) { return ends(changelogs); },
      [this](counts_atom, const TopicNames& topics) { return counts(topics); },
      [this](remove_atom, const std::string& path) {
        std::error_code error;
        std::filesystem::remove_all(path, error);
        if (error)
          state.app->log.warn("cannot remove '" + path + "': " + error.message() +
                              "; the next start tries again");
      },
      [this](stop_atom) { quit(); },
  };
}

Result<ChangelogConsumer*> Restorer::reader(std::shared_ptr<const RestoreOrder> order) {
  state.order = std::move(order);
  if (!state.reader) {
    auto reader = ChangelogConsumer::create(state.app->config, state.app->log.for_kafka(),
                                            [this] { return state.order->cancelled(); });
    if (!reader) return reader.error();
    state.reader = *std::move(reader);
  }
  return state.reader.get();
}

LogEnds Restorer::ends(const Changelogs& changelogs) {
  std::vector<TopicPartition> asked;
  for (const auto& changelog : *changelogs) {
    if (changelog) asked.push_back(*changelog);
  }
  std::vector<std::int64_t> ends(changelogs->size(), -1);
  if (!asked.empty()) {
    const auto reader = this->reader(std::make_shared<const RestoreOrder>());
    if (!reader) return nullptr;
    const auto found = (*reader)->ends_within(asked, kLookTimeout);
    if (!found) return nullptr;
    auto next = found->begin();
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if ((*changelogs)[i]) ends[i] = *next++;
    }
  }
  return std::make_shared<const std::vector<std::int64_t>>(std::move(ends));
}

PartitionCountsPtr Restorer::counts(const TopicNames& topics) {
  auto counts = std::make_shared<PartitionCounts>();
  if (!state.admin) {
    auto admin = create_admin(state.app->config, state.app->log.for_kafka());
    if (!admin) return counts;
    state.admin = *std::move(admin);
  }
  for (const auto& topic : *topics) {
    const auto count = state.admin->partition_count(topic, kLookTimeout);
    if (count && *count) counts->emplace(topic, **count);
  }
  return counts;
}

Result<RestoredTaskPtr> Restorer::restore(const RestoreRequest& request) {
  if (!request.order->begin()) return Status::cancelled("the task is not wanted any more");
  const auto reader = this->reader(request.order);
  if (!reader) return reader.error();
  const auto began = state.app->clock.elapsed();
  auto engines = open_engines(request.plan, request.damage);
  if (!engines) return engines.error();

  RestoreSettings settings;
  settings.cluster = state.app->cluster;
  settings.new_lineage = std::uniform_int_distribution<std::uint64_t>{1}(state.random);
  settings.reset = state.app->config.auto_offset_reset;
  settings.batch_bytes_max = state.bytes_max;
  settings.transactional = state.app->transactional();
  settings.accept_unknown_values =
      state.app->config.on_unknown_value == UnknownValuePolicy::kAccept;
  settings.skip_lost_records = state.app->config.on_lost_records == LostRecordsPolicy::kSkip;
  for (const auto& store : request.plan.stores) {
    const auto lag = state.app->min_compaction_lag.find(store.changelog.topic);
    if (lag != state.app->min_compaction_lag.end()) {
      // A topic without one was warned of. Rolling a segment, which compaction waits for, takes
      // longer as a rule, and every crash would end in an error otherwise.
      settings.min_compaction_lags[store.changelog.topic] =
          lag->second.count() > 0 ? lag->second : kMinCompactionLag;
    }
    const auto found = state.app->delete_retention.find(store.changelog.topic);
    if (found != state.app->delete_retention.end()) {
      settings.delete_retention = std::min(settings.delete_retention, found->second);
    }
  }
  Progress progress{*state.app, request.plan, *request.order};
  auto start = restore_task(request.plan, *engines, request.committed, **reader, state.app->clock,
                            settings, progress);
  if (!start) return start.error();
  report(request.plan, *start, state.app->clock.elapsed() - began);
  return std::make_shared<RestoredTask>(
      RestoredTask{request.plan, *std::move(engines), *std::move(start)});
}

Result<TaskEngines> Restorer::open_engines(const TaskPlan& plan, std::string rebuilt) {
  AppContext& app = *state.app;
  auto engines = TaskEngines::open(
      plan, app.engine,
      [&app](TaskId id, std::string_view engine) {
        const std::lock_guard lock{app.state_directory_mutex};
        return app.state_directory->task_directory(to_string(id), engine);
      },
      [&app](TaskId id, std::string_view engine) {
        const std::lock_guard lock{app.state_directory_mutex};
        return app.state_directory->discard(to_string(id), engine);
      },
      rebuilt);
  if (!rebuilt.empty()) {
    app.log.warn("task " + to_string(plan.id) +
                 ": its state on disk is damaged and is rebuilt from the changelog: " + rebuilt);
    state.rebuilt->add();
  }
  return engines;
}

void Restorer::report(const TaskPlan& plan, const TaskStart& start, std::chrono::nanoseconds took) {
  const AppContext& app = *state.app;
  for (const auto& lost : start.lost) {
    app.log.warn("task " + to_string(plan.id) + ": input " + to_string(lost.input) +
                 " goes on at offset " + std::to_string(lost.to) + ": " +
                 std::to_string(lost.to - lost.from) + " offsets from " +
                 std::to_string(lost.from) +
                 " on were deleted before they were processed (on_lost_records = skip)");
    state.lost->add(static_cast<std::uint64_t>(lost.to - lost.from));
  }
  for (std::size_t i = 0; i < plan.stores.size(); ++i) {
    const auto& name = plan.graph->stores()[plan.stores[i].store].options.name();
    const StoreStart& store = start.stores[i];
    if (plan.stores[i].starts_empty) {
      app.log.info("task " + to_string(plan.id) + ": store " + name + " starts empty");
      continue;
    }
    state.records->add(store.records);
    if (store.missed_commits) {
      app.log.warn("task " + to_string(plan.id) + ": store " + name +
                   " is back: it is as the last commit with it left it, and lacks what was "
                   "processed without it since");
    }
    if (store.unknown_values > 0) {
      app.log.warn(
          "task " + to_string(plan.id) + ": store " + name + ": " +
          std::to_string(store.unknown_values) +
          " keys are taken as the changelog shows them; what was committed for them may be "
          "another value (on_unknown_value = accept)");
      state.unknown->add(store.unknown_values);
    }
    if (store.moves_from_source) {
      app.log.info("task " + to_string(plan.id) + ": table " + name + ": its rows, " +
                   std::to_string(store.tail_keys.size()) + " keys read from its topic, go to " +
                   to_string(plan.stores[i].changelog) + ", which is its changelog from now on");
    }
    if (!store.rebuilt.empty()) {
      app.log.warn("task " + to_string(plan.id) + ": store " + name +
                   " is rebuilt from the changelog: " + store.rebuilt);
      state.rebuilt->add();
    }
    app.log.info(
        "task " + to_string(plan.id) + ": store " + name + " restored, replayed " +
        std::to_string(store.records) + " records (" + to_string(plan.stores[i].changelog) +
        " offsets " + std::to_string(store.restored_from) + " to " +
        std::to_string(store.committed_end) + ", " + std::to_string(store.tail_keys.size()) +
        " keys beyond) in " +
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()) +
        " ms");
  }
}

}  // namespace millrace
