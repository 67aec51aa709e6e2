// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::testing {

/// Kafka's numbers of the requests that faults are aimed at.
enum class Api : std::int16_t {
  kProduce = 0,
  kFetch = 1,
  kListOffsets = 2,
  kMetadata = 3,
  kOffsetCommit = 8,
  kOffsetFetch = 9,
  kFindCoordinator = 10,
  kJoinGroup = 11,
  kHeartbeat = 12,
  kLeaveGroup = 13,
  kSyncGroup = 14,
  kApiVersions = 18,
  kInitProducerId = 22,
  kAddPartitionsToTxn = 24,
  kAddOffsetsToTxn = 25,
  kEndTxn = 26,
  kTxnOffsetCommit = 28,
};
[[nodiscard]] std::string to_string(Api api);

/// What happens to a request or to its response.
enum class Harm : std::uint8_t {
  kDropRequest,       ///< The broker never sees it, the client waits for its time-out.
  kDropResponse,      ///< The broker acts on it, the client waits for its time-out.
  kDelayRequest,      ///< It and what follows on the connection reaches the broker later.
  kDelayResponse,     ///< Its response and what follows reaches the client later.
  kDuplicate,         ///< The broker gets it twice; the second response is swallowed.
  kCutBefore,         ///< The connection is reset before the broker sees it.
  kCutAfter,          ///< The connection is reset when the response comes.
  kCutInMidResponse,  ///< Half of the response, then the connection is reset.
  /// The connection is reset, and the broker gets the request `delay` later, on a connection of its
  /// own: after whatever the client has done meanwhile.
  kOvertaken,
  kMoved,    ///< The response, of an OffsetCommit, says that the coordinator is another broker.
  kUnknown,  ///< The response, of a Heartbeat, says that the member is unknown.
};
[[nodiscard]] std::string to_string(Harm harm);

/// One fault to inject, for as often as `times` says.
struct Rule {
  std::optional<Api> api = {};  // None: any but ApiVersions.
  Harm harm = Harm::kDropResponse;
  double probability = 1;
  int after = 0;  // As many matching requests pass first.
  int times = std::numeric_limits<int>::max();
  std::chrono::milliseconds delay{0};
  /// Only requests with these bytes in them, such as a part of a topic's name.
  std::string mentions = {};
};

/// Slow lines: applies to both directions of every connection.
struct Shape {
  std::chrono::milliseconds latency{0};
  std::chrono::milliseconds jitter{0};  // Added at random, up to so much.
  std::int64_t bytes_per_second = 0;    // Of each direction of a connection; 0: no limit.
};

/// Between Kafka clients and a broker: understands the frames of the protocol and harms them as its
/// rules say. What it decides at random comes from the seed.
///
/// Has a thread of its own. Every function may be called by any thread and returns when it is in
/// force.
class FaultProxy {
 public:
  using Log = std::function<void(const std::string&)>;

  /// Listens on a port of 127.0.0.1 below those that the kernel gives to outgoing connections.
  /// `log` gets one numbered line for each injection, from the proxy's thread.
  explicit FaultProxy(std::uint64_t seed, Log log = {});
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
  /// Where new connections go: a port of 127.0.0.1.
  void forward_to(std::uint16_t port);

  void add(const Rule& rule);
  /// No rules, no shape, no black hole, connections accepted. Open connections stay.
  void heal();
  void shape(const Shape& shape);
  /// Nothing passes any more, in either direction, while connections stay open and new ones are
  /// accepted. What was held passes afterwards, as TCP would deliver it.
  void black_hole(bool on);
  /// No one listens: connection refused. Open connections stay.
  void refuse(bool on);
  /// Resets every open connection.
  void cut_all();

  /// How many faults rules have injected so far; calls of cut_all, black_hole, refuse and shape
  /// count as one each.
  [[nodiscard]] std::uint64_t injected() const;
  /// Requests of a kind that have come from clients.
  [[nodiscard]] std::uint64_t requests(Api api) const;

 private:
  struct State;
  class Connection;
  std::unique_ptr<State> state_;
};

/// A free port of 127.0.0.1 that no outgoing connection is given.
[[nodiscard]] std::uint16_t free_port();

}  // namespace millrace::testing
