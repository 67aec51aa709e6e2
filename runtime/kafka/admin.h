// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "millrace/config.h"
#include "millrace/error.h"
#include "runtime/kafka/client_config.h"
#include "runtime/topic_partition.h"

namespace millrace {

/// A topic to create.
struct TopicSpec {
  std::string name;
  std::int32_t partitions = 1;
  std::int32_t replication_factor = -1;  ///< -1: the broker's default.
  std::map<std::string, std::string> configs;
};

enum class TopicCreation : std::uint8_t { kCreated, kAlreadyExists };

/// What start-up, tools and tests ask of the cluster apart from records. Blocking, thread-safe.
/// Every call: kUnavailable when no answer came within `timeout`, kInvalidArgument (naming the
/// missing operation) when access is denied.
class TopicAdmin {
 public:
  virtual ~TopicAdmin() = default;

  /// Asks any broker for metadata. A kUnavailable message says what librdkafka last complained of.
  virtual Status ping(std::chrono::milliseconds timeout) = 0;

  /// The cluster's id; it changes when somebody points the application at another cluster.
  virtual Result<std::string> cluster_id(std::chrono::milliseconds timeout) = 0;

  /// All topics that may be seen, with their partition counts.
  virtual Result<std::map<std::string, std::int32_t>> topics(std::chrono::milliseconds timeout) = 0;

  /// Partitions of a topic; nullopt if there is none of that name. Never creates one.
  virtual Result<std::optional<std::int32_t>> partition_count(
      const std::string& topic, std::chrono::milliseconds timeout) = 0;

  /// Creates a topic. An existing one is success, whatever its partitions and configs are.
  virtual Result<TopicCreation> create_topic(const TopicSpec& topic,
                                             std::chrono::milliseconds timeout) = 0;

  /// The topic's configuration, defaults included. Values the broker hides are absent.
  virtual Result<std::map<std::string, std::string>> topic_configs(
      const std::string& topic, std::chrono::milliseconds timeout) = 0;

  /// Deletes topics; those that do not exist are success. The first other failure is returned, the
  /// rest is tried all the same.
  virtual Status delete_topics(const std::vector<std::string>& topics,
                               std::chrono::milliseconds timeout) = 0;

  /// Deletes a consumer group and its offsets; one that does not exist is success. kUnavailable
  /// while it has members.
  virtual Status delete_group(const std::string& group, std::chrono::milliseconds timeout) = 0;

  /// What the members of a consumer group have been assigned, all together; nullopt while the group
  /// rebalances or has no members.
  virtual Result<std::optional<std::vector<TopicPartition>>> group_assignment(
      const std::string& group, std::chrono::milliseconds timeout) = 0;
};

/// An admin over a client of its own. Does not wait for a broker.
Result<std::unique_ptr<TopicAdmin>> create_admin(const Config& config, KafkaLog log);

}  // namespace millrace
