// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "millrace/engine.h"
#include "stores/lmdb_environment.h"

namespace millrace {

/// The state of one task in one LMDB.
///
/// Survives kill -9 up to the last checkpoint. A scan keeps the environment open: destroy it before
/// `close()`, or the files are released only when it goes.
class LmdbEngine final : public Engine {
 public:
  LmdbEngine(EngineOptions options, const LmdbOptions& lmdb_options);

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
  /// Copies the file.
  Status backup(const std::filesystem::path& directory) override;
  Status close() override;

 private:
  [[nodiscard]] Status check_open();
  [[nodiscard]] Status check(StoreIndex store);
  [[nodiscard]] Status failed(int error, std::string_view action) const;
  [[nodiscard]] Result<std::optional<std::string>> read_record(std::string_view name);

  const EngineOptions options_;
  const LmdbOptions lmdb_options_;
  std::shared_ptr<LmdbEnvironment> environment_;  ///< Null once closed, or after a failed `open`.
  bool closed_ = false;
};

}  // namespace millrace
