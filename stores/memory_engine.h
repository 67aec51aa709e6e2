// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "millrace/engine.h"

namespace millrace {

/// State in ordered maps. Nothing survives `close()`.
///
/// A scan shares its store's map; the first change while a scan lives copies the map.
class MemoryEngine final : public Engine {
 public:
  explicit MemoryEngine(std::size_t store_count);

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

 private:
  using Entries = std::map<std::string, std::string, std::less<>>;

  struct Store {
    std::shared_ptr<Entries> entries = std::make_shared<Entries>();
    std::optional<EnginePosition> position;
    std::size_t bytes = 0;
  };

  [[nodiscard]] Status check(StoreIndex store) const;
  static void erase_below(Store& store, std::string_view bound);
  static void change(Store& store, const EngineChange& change);

  std::vector<Store> stores_;
  std::map<std::string, std::int64_t> source_offsets_;
  bool closed_ = false;
};

}  // namespace millrace
