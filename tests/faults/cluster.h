// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/faults/proxy.h"
#include "tests/support/process.h"

namespace millrace::testing {

/// Real brokers, one or several, each with a proxy between it and the workers; the checkers reach
/// them directly. Several keep three copies of everything and demand that two are written.
class Cluster {
 public:
  Cluster(std::uint64_t seed, const FaultProxy::Log& log, int brokers = 1);

  [[nodiscard]] int brokers() const { return static_cast<int>(nodes_.size()); }
  /// By Kafka's number, from 1 on.
  [[nodiscard]] FaultProxy& proxy(int broker = 1) { return node(broker).proxy; }
  [[nodiscard]] OwnBroker& broker(int broker = 1) { return *node(broker).broker; }

  /// All of them, as bootstrap.servers has it: for the workers, and past the proxies.
  [[nodiscard]] std::string proxied_addresses() const;
  [[nodiscard]] std::string direct_addresses() const;

  void heal();
  /// How many faults all the proxies have injected so far.
  [[nodiscard]] std::uint64_t injected() const;

 private:
  struct Node {
    Node(std::uint64_t seed, const FaultProxy::Log& log) : proxy(seed, log) {}
    FaultProxy proxy;
    std::unique_ptr<OwnBroker> broker;
  };

  Node& node(int broker) { return *nodes_.at(static_cast<std::size_t>(broker - 1)); }

  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace millrace::testing
