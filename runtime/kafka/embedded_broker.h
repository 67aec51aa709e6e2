// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "millrace/config.h"
#include "millrace/error.h"
#include "runtime/kafka/admin.h"
#include "runtime/kafka/handles.h"

struct rd_kafka_mock_cluster_s;

namespace millrace {

/// librdkafka's mock cluster in this process: groups, produce, fetch and offset commits work.
///
/// For demos and for tests of client faults, never for exactly-once: no admin requests, compaction,
/// persistence or stored transactional offsets; it keeps at most 5 MiB per partition. The first
/// join of a group takes 3 s. Thread-safe. Clients must be destroyed before it.
class EmbeddedBroker {
 public:
  /// Starts `brokers` brokers on loopback ports. kInternal if librdkafka cannot.
  static Result<std::unique_ptr<EmbeddedBroker>> start(int brokers = 1);

  ~EmbeddedBroker();

  EmbeddedBroker(const EmbeddedBroker&) = delete;
  EmbeddedBroker& operator=(const EmbeddedBroker&) = delete;

  [[nodiscard]] const std::string& bootstrap_servers() const { return bootstrap_servers_; }

  /// Creates a topic. kInvalidArgument if it exists.
  Status create_topic(const std::string& name, std::int32_t partitions);

  /// A TopicAdmin that creates topics here and asks by protocol what the mock can answer.
  /// Deleting is kInvalidArgument. Must not outlive this object.
  Result<std::unique_ptr<TopicAdmin>> create_admin(const Config& config, KafkaLog log);

  /// For tests that inject faults (librdkafka/rdkafka_mock.h). Owned by this object.
  [[nodiscard]] rd_kafka_mock_cluster_s* mock() const { return cluster_; }

 private:
  friend class EmbeddedAdmin;

  EmbeddedBroker(ClientPtr client, rd_kafka_mock_cluster_s* cluster, std::string servers);

  ClientPtr client_;
  rd_kafka_mock_cluster_s* const cluster_;
  const std::string bootstrap_servers_;

  std::mutex mutex_;                        // Guards specs_.
  std::map<std::string, TopicSpec> specs_;  // What was created here, configs included.
};

}  // namespace millrace
