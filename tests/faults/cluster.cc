// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/cluster.h"

#include <future>
#include <random>
#include <set>

namespace millrace::testing {
namespace {

// A transaction that has timed out is looked for every second instead of every ten.
const std::string kSettings = "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n";

// What one broker cannot have. A group must find its coordinator again while one of three is away.
const std::string kReplicated = kSettings +
                                "default.replication.factor=3\n"
                                "min.insync.replicas=2\n"
                                "offsets.topic.replication.factor=3\n"
                                "transaction.state.log.replication.factor=3\n"
                                "transaction.state.log.min.isr=2\n";

// 16 bytes in base64url, the first of them no '-', which would be taken for an option's.
std::string new_cluster_id() {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::random_device random;
  std::uniform_int_distribution<std::size_t> letter{0, kLetters.size() - 1};
  std::string id;
  for (int i = 0; i < 21; ++i) id += kLetters[letter(random)];
  return id + "A";  // 22 letters are 132 bits, of which the last four must be 0.
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const auto& part : parts) all += (all.empty() ? "" : ",") + part;
  return all;
}

}  // namespace

Cluster::Cluster(std::uint64_t seed, const FaultProxy::Log& log, int brokers) {
  Environment shared;
  if (brokers > 1) {
    std::set<std::string> controllers;
    while (controllers.size() < static_cast<std::size_t>(brokers))
      controllers.insert(std::to_string(free_port()));
    shared = {{"KAFKA_CLUSTER_ID", new_cluster_id()},
              {"KAFKA_CONTROLLERS", joined({controllers.begin(), controllers.end()})},
              {"KAFKA_HEAP", "384m"}};
  }
  std::vector<std::future<std::unique_ptr<OwnBroker>>> starting;
  for (int i = 1; i <= brokers; ++i) {
    nodes_.push_back(std::make_unique<Node>(seed + static_cast<std::uint64_t>(i) - 1, log));
    auto environment = shared;
    if (brokers > 1) environment["KAFKA_NODE"] = std::to_string(i);
    starting.push_back(std::async(std::launch::async, [=, port = nodes_.back()->proxy.port()] {
      return std::make_unique<OwnBroker>(brokers > 1 ? kReplicated : kSettings, port, environment);
    }));
  }
  for (std::size_t i = 0; i < starting.size(); ++i) {
    nodes_[i]->broker = starting[i].get();
    const auto at = nodes_[i]->broker->proxied();
    nodes_[i]->proxy.forward_to(
        static_cast<std::uint16_t>(std::stoi(at.substr(at.rfind(':') + 1))));
  }
}

std::string Cluster::proxied_addresses() const {
  std::vector<std::string> addresses;
  for (const auto& node : nodes_) addresses.push_back(node->proxy.address());
  return joined(addresses);
}

std::string Cluster::direct_addresses() const {
  std::vector<std::string> addresses;
  for (const auto& node : nodes_) addresses.push_back(node->broker->address());
  return joined(addresses);
}

void Cluster::heal() {
  for (const auto& node : nodes_) node->proxy.heal();
}

std::uint64_t Cluster::injected() const {
  std::uint64_t sum = 0;
  for (const auto& node : nodes_) sum += node->proxy.injected();
  return sum;
}

}  // namespace millrace::testing
