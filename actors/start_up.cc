// SPDX-License-Identifier: Apache-2.0
#include "actors/start_up.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>
#include <thread>

#include "runtime/changelog_configs.h"
#include "runtime/commit_point.h"
#include "runtime/dead_letter.h"
#include "runtime/engine_choice.h"
#include "runtime/kafka/embedded_broker.h"
#include "runtime/task_engines.h"

namespace millrace {
namespace {

constexpr std::chrono::milliseconds kPingTimeout{1'000};
constexpr std::chrono::milliseconds kAnswerTimeout{30'000};

std::unique_ptr<TopicAdmin> make_admin(const AppContext& app, EmbeddedKafka* embedded) {
  auto admin = embedded != nullptr
                   ? embedded->broker().create_admin(app.config, app.log.for_kafka())
                   : create_admin(app.config, app.log.for_kafka());
  if (!admin) throw StatusError(admin.error());
  return *std::move(admin);
}

void wait_for_broker(const AppContext& app, TopicAdmin& admin) {
  const auto deadline = app.clock.elapsed() + app.config.startup_timeout;
  for (;;) {
    const auto status = admin.ping(kPingTimeout);
    if (status.ok()) return;
    if (status.code() != Code::kUnavailable) throw StatusError(status);
    if (app.stop_asked())
      throw StatusError(Status::cancelled("asked to stop before a broker answered"));
    if (app.clock.elapsed() >= deadline) {
      throw BrokerUnavailableError(
          "no broker answered at '" + app.config.bootstrap_servers + "' within " +
          std::to_string(app.config.startup_timeout.count()) + " ms (" + status.message() +
          "); check bootstrap_servers, that the brokers run and that their advertised "
          "addresses can be reached from here");
    }
    app.log.warn("no broker answers at " + app.config.bootstrap_servers +
                 " yet: " + status.message());
  }
}

// What the cluster must have for the topology. `problem` is told what is missing as a thrower of
// the typed error; a collecting caller goes on.
class ClusterCheck {
 public:
  using Problem = std::function<void(const Error&)>;

  ClusterCheck(const AppContext& app, TopicAdmin& admin, Problem problem)
      : app_(app), admin_(admin), problem_(std::move(problem)) {
    auto topics = admin.topics(kAnswerTimeout);
    if (!topics) throw StatusError(topics.error());
    topics_ = *std::move(topics);
    check_changelog_topics(*app.graph, app.config.application_id, error_rules(app.config));
  }

  std::vector<PlacedSubtopology> subtopologies() {
    std::vector<PlacedSubtopology> placed;
    for (const auto& part : app_.graph->subtopologies()) {
      PlacedSubtopology place;
      for (const auto& topic : part.source_topics) {
        const auto missing = [&] { report(SourceTopicNotFoundError(topic, first_store(part))); };
        place.partitions.push_back(partitions_of(topic, missing));
      }
      for (const auto& topic : part.sink_topics) {
        partitions_of(topic, [&] { report(SinkTopicNotFoundError(topic)); });
      }
      place.driver = driver_topic(part, place.partitions);
      place.tasks = *std::max_element(place.partitions.begin(), place.partitions.end());
      placed.push_back(std::move(place));
    }
    return placed;
  }

  // Changelogs that must be created, each with the partition count of its subtopology's driver.
  std::vector<TopicSpec> missing_changelogs(const std::vector<PlacedSubtopology>& placed) {
    std::vector<TopicSpec> missing;
    for (std::size_t s = 0; s < placed.size(); ++s) {
      const auto& part = app_.graph->subtopologies()[s];
      if (placed[s].tasks == 0) continue;
      for (const std::size_t place : part.stores) {
        const StoreSpec& store = app_.graph->stores()[place];
        if (!store.options.changelog()) continue;
        if (source_is_changelog(*app_.graph, store, error_rules(app_.config))) continue;
        const auto wanted = changelog_spec(app_.config, store, placed[s].tasks);
        const auto found = partitions_of(wanted.name, [&] {
          missing.push_back(wanted);
          if (may_create_changelog(app_.config, store.options)) return;
          report(ChangelogNotFoundError(wanted.name, store.options.name(), wanted.partitions,
                                        wanted.replication_factor, wanted.configs));
        });
        if (found != 0 && found != wanted.partitions) {
          report(ChangelogPartitionMismatchError(wanted.name, wanted.partitions, found,
                                                 part.source_topics));
        }
      }
    }
    return missing;
  }

  // Topics for dead letters that must be created.
  std::vector<TopicSpec> missing_dead_letter_topics() {
    const auto& config = app_.config;
    std::vector<TopicSpec> missing;
    for (const auto& [topic, sources] :
         dead_letter_topics(*app_.graph, error_rules(config), config.application_id)) {
      const auto bytes_max = number_property(config, ClientRole::kProducer, "message.max.bytes");
      TopicSpec wanted{topic, 1, config.replication_factor,
                       dead_letter_configs(static_cast<std::size_t>(bytes_max))};
      for (const auto& source : sources) {
        wanted.partitions = std::max(wanted.partitions, partitions_of(source, [] {}));
      }
      partitions_of(wanted.name, [&] {
        missing.push_back(wanted);
        if (config.auto_create_topics) return;
        report(DeadLetterTopicNotFoundError(wanted.name, wanted.partitions,
                                            wanted.replication_factor, wanted.configs));
      });
    }
    return missing;
  }

  const std::map<std::string, std::int32_t>& topics() const { return topics_; }

 private:
  void report(const Error& error) { problem_(error); }

  std::string first_store(const Subtopology& part) const {
    return part.stores.empty() ? std::string{}
                               : app_.graph->stores()[part.stores.front()].options.name();
  }

  // 0 after a report, or after a call of `missing` if there is no such topic. What one may not see
  // is not in the list: asked for by name, brokers say so.
  std::int32_t partitions_of(const std::string& topic, const std::function<void()>& missing) {
    if (const auto found = topics_.find(topic); found != topics_.end()) return found->second;
    const auto count = admin_.partition_count(topic, kAnswerTimeout);
    if (!count) {
      report(StatusError(count.error()));
    } else if (!*count) {
      missing();
    } else {
      topics_[topic] = **count;
    }
    return count ? count->value_or(0) : 0;
  }

  const AppContext& app_;
  TopicAdmin& admin_;
  const Problem problem_;
  std::map<std::string, std::int32_t> topics_;
};

// Typed errors keep their types on the way out of start().
template <class... Types>
void throw_as(const Error& error) {
  const auto attempt = [&]<class T>() {
    if (const auto* typed = dynamic_cast<const T*>(&error)) throw T(*typed);
  };
  (attempt.template operator()<Types>(), ...);
  throw Error(error);
}

void throw_typed(const Error& error) {
  throw_as<SourceTopicNotFoundError, SinkTopicNotFoundError, ChangelogNotFoundError,
           ChangelogPartitionMismatchError, DeadLetterTopicNotFoundError, StatusError>(error);
}

void create_topics(AppContext& app, TopicAdmin& admin, const std::vector<TopicSpec>& missing) {
  for (const auto& topic : missing) {
    auto created = admin.create_topic(topic, kAnswerTimeout);
    if (!created) throw StatusError(created.error());
    app.log.info("created topic " + topic.name + " with " + std::to_string(topic.partitions) +
                 " partitions");
  }
  // Until every broker knows a new topic, reading or writing it fails: wait for it here, once.
  const auto deadline = app.clock.elapsed() + kAnswerTimeout;
  for (const auto& topic : missing) {
    for (;;) {
      auto count = admin.partition_count(topic.name, kAnswerTimeout);
      if (count && *count == topic.partitions) break;
      if (!count && count.error().code() != Code::kUnavailable) throw StatusError(count.error());
      if (app.clock.elapsed() >= deadline) {
        throw StatusError(
            Status::unavailable("topic " + topic.name + " was created but does not appear"));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
  }
}

// Says what works but may not be meant.
void look_at_changelogs(AppContext& app, TopicAdmin& admin) {
  for (const StoreSpec& store : app.graph->stores()) {
    if (const auto warning = starts_empty_warning(store.options)) app.log.warn(*warning);
    const bool on_source = source_is_changelog(*app.graph, store, error_rules(app.config));
    const auto topic =
        on_source ? store.table_topic : changelog_topic(app.config.application_id, store.options);
    if (topic.empty()) continue;
    auto configs = admin.topic_configs(topic, kAnswerTimeout);
    if (!on_source) {
      app.min_compaction_lag[topic] =
          min_compaction_lag(configs ? *configs : changelog_spec(app.config, store, 0).configs);
    }
    if (!configs) {  // Not every principal may describe configs.
      app.log.warn(configs.error().message() + "; it is taken to have the defaults");
      continue;
    }
    std::int64_t millis = 0;
    if (const auto found = configs->find("delete.retention.ms"); found != configs->end()) {
      const auto& text = found->second;
      const auto parsed = std::from_chars(text.data(), text.data() + text.size(), millis);
      if (parsed.ec == std::errc{}) app.delete_retention[topic] = std::chrono::milliseconds{millis};
    }
    const auto warning = on_source ? table_topic_warning(store.options.name(), topic, *configs)
                                   : changelog_warning(topic, store.layout, *configs);
    if (warning) app.log.warn(*warning);
  }
}

// `partitions`: the counts of topics that tasks may write to.
void make_producer(AppContext& app, std::map<std::string, std::int32_t> partitions) {
  std::string transactional_id;
  if (app.transactional()) {
    auto instance = app.state_directory->instance_id();
    if (!instance) throw StateDirectoryError(instance.error().message());
    transactional_id = make_transactional_id(app.config, *instance);
  }
  auto producer = Producer::create(app.config, app.log.for_kafka(), transactional_id);
  if (!producer) throw StatusError(producer.error());
  app.producer = *std::move(producer);
  app.sink = std::make_unique<KafkaSink>(*app.producer, std::move(partitions));
  if (!app.transactional()) return;
  // Their metadata is fetched before the first transaction.
  for (const auto& part : app.graph->subtopologies()) {
    for (const auto& topic : part.sink_topics) static_cast<void>(app.sink->topic(topic));
  }
  for (const StoreSpec& store : app.graph->stores()) {
    const auto topic = changelog_topic(app.config.application_id, store.options);
    if (!topic.empty()) static_cast<void>(app.sink->topic(topic));
  }
  app.log.info("transactions as " + transactional_id);
  const auto deadline = app.clock.elapsed() + app.config.startup_timeout;
  for (;;) {
    const auto status = app.producer->open(kPingTimeout);
    if (status.ok()) return;
    if (status.code() != Code::kUnavailable || app.clock.elapsed() >= deadline || app.stop_asked())
      throw StatusError(status);
    app.log.warn(status.message() + "; trying again");
  }
}

}  // namespace

void start_up(AppContext& app, EmbeddedKafka* embedded) {
  if (app.transactional() && embedded != nullptr) {
    throw ConfigError(
        "guarantee = exactly_once needs a real cluster: the embedded Kafka stores no transactions; "
        "use at_least_once with it");
  }
  app.engine = make_engine(app.config);
  for (const auto& store : app.graph->stores()) {
    const auto& engine = store.options.engine() ? store.options.engine() : app.engine;
    if (auto status = engine->check_settings(store.options.name(), store.options.engine_settings());
        !status.ok()) {
      throw ConfigError(status.message());
    }
  }
  if (auto status = check_engines(*app.graph, app.engine); !status.ok())
    throw ConfigError(status.message());
  auto directory = StateDirectory::open(app.config.state_dir, app.config.application_id);
  if (!directory) throw StateDirectoryError(directory.error().message());
  app.state_directory = *std::move(directory);

  const auto admin = make_admin(app, embedded);
  wait_for_broker(app, *admin);
  ClusterCheck cluster{app, *admin, throw_typed};
  app.subtopologies = cluster.subtopologies();
  auto missing = cluster.missing_changelogs(app.subtopologies);
  for (auto& topic : cluster.missing_dead_letter_topics()) missing.push_back(std::move(topic));
  create_topics(app, *admin, missing);
  look_at_changelogs(app, *admin);
  auto id = admin->cluster_id(kAnswerTimeout);
  if (!id) throw StatusError(id.error());
  app.cluster = topic_hash(*id);

  auto counts = cluster.topics();
  for (const auto& topic : missing) counts[topic.name] = topic.partitions;
  make_producer(app, std::move(counts));
  auto data = DataConsumer::create(app.config, app.log.for_kafka());
  if (!data) throw StatusError(data.error());
  app.data = *std::move(data);
}

std::vector<std::string> check_cluster(const AppContext& app, EmbeddedKafka* embedded) {
  std::vector<std::string> problems;
  try {
    const auto admin = make_admin(app, embedded);
    wait_for_broker(app, *admin);
    ClusterCheck cluster{app, *admin,
                         [&](const Error& error) { problems.emplace_back(error.what()); }};
    static_cast<void>(cluster.missing_changelogs(cluster.subtopologies()));
    static_cast<void>(cluster.missing_dead_letter_topics());
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
  return problems;
}

}  // namespace millrace
