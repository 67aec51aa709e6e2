// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "tests/faults/proxy.h"
#include "tests/support/process.h"

namespace millrace::testing {

/// A real broker, with a proxy between it and the workers; the checkers reach it directly.
class Cluster {
 public:
  explicit Cluster(std::uint64_t seed, FaultProxy::Log log)
      : proxy(seed, std::move(log)),
        // A transaction that has timed out is looked for every second instead of every ten.
        broker("transaction.abort.timed.out.transaction.cleanup.interval.ms=1000", proxy.port()) {
    const auto at = broker.proxied();
    proxy.forward_to(static_cast<std::uint16_t>(std::stoi(at.substr(at.rfind(':') + 1))));
  }

  FaultProxy proxy;
  OwnBroker broker;
};

}  // namespace millrace::testing
