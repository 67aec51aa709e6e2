// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/embedded_broker.h"

#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <utility>

#include "runtime/kafka/error_map.h"

namespace millrace {

using std::chrono::milliseconds;

// The mock answers metadata requests only: topics are created by its own call, and what it cannot
// do is refused here instead of timing out.
class EmbeddedAdmin final : public TopicAdmin {
 public:
  EmbeddedAdmin(EmbeddedBroker& broker, std::unique_ptr<TopicAdmin> by_protocol)
      : broker_(broker), by_protocol_(std::move(by_protocol)) {}

  Status ping(milliseconds timeout) override { return by_protocol_->ping(timeout); }

  Result<std::string> cluster_id(milliseconds timeout) override {
    return by_protocol_->cluster_id(timeout);
  }

  Result<std::map<std::string, std::int32_t>> topics(milliseconds timeout) override {
    return by_protocol_->topics(timeout);
  }

  // The mock creates every topic that is asked for by name: look it up in the list instead.
  Result<std::optional<std::int32_t>> partition_count(const std::string& topic,
                                                      milliseconds timeout) override {
    auto all = topics(timeout);
    if (!all) return all.error();
    const auto found = all->find(topic);
    if (found == all->end()) return std::optional<std::int32_t>{};
    return std::optional<std::int32_t>{found->second};
  }

  Result<TopicCreation> create_topic(const TopicSpec& topic, milliseconds timeout) override {
    auto count = partition_count(topic.name, timeout);
    if (!count) return count.error();
    if (count->has_value()) return TopicCreation::kAlreadyExists;
    if (Status status = broker_.create_topic(topic.name, topic.partitions); !status.ok()) {
      return status;
    }
    const std::lock_guard lock{broker_.mutex_};
    broker_.specs_[topic.name] = topic;
    return TopicCreation::kCreated;
  }

  Result<std::map<std::string, std::string>> topic_configs(const std::string& topic,
                                                           milliseconds) override {
    const std::lock_guard lock{broker_.mutex_};
    const auto found = broker_.specs_.find(topic);
    if (found == broker_.specs_.end()) return std::map<std::string, std::string>{};
    return found->second.configs;
  }

  Status delete_topics(const std::vector<std::string>&, milliseconds) override {
    return Status::invalid_argument("the embedded broker cannot delete topics: start a new one");
  }

  Result<std::optional<std::vector<TopicPartition>>> group_assignment(const std::string&,
                                                                      milliseconds) override {
    return Status::invalid_argument("the embedded broker cannot describe groups");
  }

  Status delete_group(const std::string&, milliseconds) override {
    return Status::invalid_argument("the embedded broker cannot delete groups: start a new one");
  }

 private:
  EmbeddedBroker& broker_;
  const std::unique_ptr<TopicAdmin> by_protocol_;
};

Result<std::unique_ptr<EmbeddedBroker>> EmbeddedBroker::start(int brokers) {
  std::array<char, 512> text{};
  ConfPtr conf{rd_kafka_conf_new()};
  rd_kafka_conf_set_log_cb(conf.get(), [](const rd_kafka_t*, int, const char*, const char*) {});
  ClientPtr client{rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text.data(), text.size())};
  if (!client) {
    return kafka_status(rd_kafka_last_error(), "cannot start the embedded broker", text.data());
  }
  conf.release();  // rd_kafka_new takes it over, but only when it succeeds.
  rd_kafka_mock_cluster_t* const cluster = rd_kafka_mock_cluster_new(client.get(), brokers);
  if (cluster == nullptr) {
    return Status::internal("cannot start the embedded broker: no loopback port could be opened");
  }
  return std::unique_ptr<EmbeddedBroker>{
      new EmbeddedBroker{std::move(client), cluster, rd_kafka_mock_cluster_bootstraps(cluster)}};
}

EmbeddedBroker::EmbeddedBroker(ClientPtr client, rd_kafka_mock_cluster_s* cluster,
                               std::string servers)
    : client_(std::move(client)), cluster_(cluster), bootstrap_servers_(std::move(servers)) {}

EmbeddedBroker::~EmbeddedBroker() { rd_kafka_mock_cluster_destroy(cluster_); }

Status EmbeddedBroker::create_topic(const std::string& name, std::int32_t partitions) {
  constexpr int kReplicationFactor = 1;
  return kafka_status(
      rd_kafka_mock_topic_create(cluster_, name.c_str(), partitions, kReplicationFactor),
      "cannot create topic " + name + " with " + std::to_string(partitions) + " partitions");
}

Result<std::unique_ptr<TopicAdmin>> EmbeddedBroker::create_admin(const Config& config,
                                                                 KafkaLog log) {
  Config pointed = config;
  pointed.bootstrap_servers = bootstrap_servers_;
  auto admin = millrace::create_admin(pointed, std::move(log));
  if (!admin) return admin.error();
  return std::unique_ptr<TopicAdmin>{std::make_unique<EmbeddedAdmin>(*this, std::move(*admin))};
}

}  // namespace millrace
