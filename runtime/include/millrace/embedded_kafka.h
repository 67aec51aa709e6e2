// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace millrace {

class EmbeddedBroker;

/// A Kafka broker inside the process, for demos and first steps: librdkafka's mock cluster, which
/// listens on a loopback port, so that kcat and other clients can use it too.
///
/// Groups, produce and fetch work. Records live in memory (the newest 5 MiB of each partition),
/// nothing is compacted, there is no exactly-once, and a second member of one group in the same
/// process is not supported. Never for production.
class EmbeddedKafka {
 public:
  /// Starts it. Throws StatusError.
  EmbeddedKafka();
  ~EmbeddedKafka();
  EmbeddedKafka(const EmbeddedKafka&) = delete;
  EmbeddedKafka& operator=(const EmbeddedKafka&) = delete;

  /// "127.0.0.1:PORT".
  [[nodiscard]] const std::string& bootstrap_servers() const;

  /// Creates a topic. Throws StatusError if it exists.
  void create_topic(const std::string& name, std::int32_t partitions);

  // For App.
  [[nodiscard]] EmbeddedBroker& broker() { return *broker_; }

 private:
  std::unique_ptr<EmbeddedBroker> broker_;
};

}  // namespace millrace
