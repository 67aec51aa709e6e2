// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "millrace/engine.h"
#include "stores/redis_scan.h"
#include "stores/redis_session.h"

namespace millrace {

/// The state of one task in a Redis; redis_session.h has the names and who may write.
///
/// A call costs one round trip, `apply` and `clear` two, a scan two for each 256 entries. The first
/// change of a store while a scan of it lives reads the scan's rest into memory.
class RedisEngine final : public Engine {
 public:
  RedisEngine(EngineOptions options, const RedisOptions& redis_options);

  /// Before all other calls. Errors as those of `EngineFactory::open`.
  Status open();

  Result<std::optional<std::string>> get(StoreIndex store, std::string_view key) override;
  Status multi_get(StoreIndex store, std::span<const std::string_view> keys,
                   std::span<std::optional<std::string>> values) override;
  Result<std::unique_ptr<EngineScan>> scan(StoreIndex store, std::optional<std::string_view> from,
                                           std::optional<std::string_view> to) override;
  Status apply(const Checkpoint& checkpoint) override;
  Result<std::optional<EnginePosition>> position(StoreIndex store) override;
  Result<std::map<std::string, std::int64_t>> source_offsets() override;
  Status clear(StoreIndex store) override;
  EngineStatistics statistics(StoreIndex store) override;
  Status close() override;

  /// How often it waited for the server since it was opened.
  [[nodiscard]] std::uint64_t round_trips() const {
    return session_ == nullptr ? 0 : session_->round_trips();
  }

 private:
  struct Store {
    std::string keys;    ///< Name of the sorted set.
    std::string values;  ///< Name of the hash.
    std::vector<std::weak_ptr<RedisPages>> scans;
  };

  [[nodiscard]] Status check_open() const;
  [[nodiscard]] Status check(StoreIndex store) const;
  Status empty_stores_without_position();
  Status read_scans(Store& store);
  Status look_up(const Store& store, std::span<const std::string_view> keys,
                 std::span<std::optional<std::string>> values);
  Status queue(RedisConnection& connection, const Checkpoint& checkpoint) const;
  Result<std::optional<std::string>> read_record(std::string_view name);

  const EngineOptions options_;
  std::shared_ptr<RedisSession> session_;  ///< Null once closed.
  std::vector<Store> stores_;
};

}  // namespace millrace
