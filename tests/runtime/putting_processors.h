// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "millrace/topology.h"

namespace millrace::testing {

/// Puts each record into the store "windows", at its own time.
class PuttingWindows final : public Processor<std::string, std::string, std::string, std::string> {
 public:
  void process(const Record<std::string, std::string>& record, Context& context) override {
    context.window_store<std::string, std::string>("windows").put(record.key(), record.value(),
                                                                  record.timestamp());
  }
};

/// The same into the store "versions".
class PuttingVersions final : public Processor<std::string, std::string, std::string, std::string> {
 public:
  void process(const Record<std::string, std::string>& record, Context& context) override {
    context.versioned_store<std::string, std::string>("versions")
        .put(record.key(), record.value(), record.timestamp());
  }
};

}  // namespace millrace::testing
