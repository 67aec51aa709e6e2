// SPDX-License-Identifier: Apache-2.0
//
// Which engines this build has. Those it lacks can be named, but not opened.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/engine.h"

namespace millrace {
namespace {

class AbsentEngineFactory final : public EngineFactory {
 public:
  AbsentEngineFactory(std::string_view name, std::string_view option)
      : name_(name), option_(option) {}

  std::string_view name() const override { return name_; }
  bool persistent() const override { return true; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& /*options*/) override {
    return Status::invalid_argument("this Millrace was built without the engine '" +
                                    std::string{name_} + "'; build it with " +
                                    std::string{option_} + "=ON");
  }

 private:
  const std::string_view name_;
  const std::string_view option_;
};

[[maybe_unused]] std::shared_ptr<EngineFactory> absent(std::string_view name,
                                                       std::string_view option) {
  return std::make_shared<AbsentEngineFactory>(name, option);
}

}  // namespace

namespace engines {

const std::vector<std::string_view>& names() {
  static const std::vector<std::string_view> all{
      "rocksdb",
      "memory",
#ifdef MILLRACE_WITH_LMDB
      "lmdb",
#endif
#ifdef MILLRACE_WITH_REDIS
      "redis",
#endif
  };
  return all;
}

#ifndef MILLRACE_WITH_LMDB
std::shared_ptr<EngineFactory> lmdb(LmdbOptions /*options*/) {
  return absent("lmdb", "MILLRACE_WITH_LMDB");
}
#endif
#ifndef MILLRACE_WITH_REDIS
std::shared_ptr<EngineFactory> redis(RedisOptions /*options*/) {
  return absent("redis", "MILLRACE_WITH_REDIS");
}
#endif

}  // namespace engines
}  // namespace millrace
