// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/state_cache.h"

namespace millrace {

/// Merges the entries that the engine lacks with a scan of the engine.
class MergedScan final : public StateScan {
 public:
  /// An entry that the engine lacks, or lacks the deletion of. Its value is owned: made by
  /// `ValueOps::copy`.
  struct Item {
    std::string key;
    Timestamp timestamp;
    bool present;
    std::unique_ptr<char[]> value;
  };

  /// `overlay` ascends by key. Entries of the engine with a timestamp before `live_from` are passed
  /// over.
  MergedScan(const ValueOps& ops, std::vector<Item> overlay, std::unique_ptr<EngineScan> engine,
             std::int64_t live_from);
  ~MergedScan() override;

  bool valid() const override { return place_ != Place::kEnd; }
  void next() override;
  std::string_view key() const override;
  const void* value() const override;
  Timestamp timestamp() const override;

 private:
  enum class Place : std::uint8_t { kOverlay, kEngine, kEnd };

  void settle();
  void decode(std::string_view engine_value);
  void drop_decoded();

  const ValueOps& ops_;
  std::vector<Item> overlay_;
  std::size_t at_ = 0;
  std::unique_ptr<EngineScan> engine_;
  const std::int64_t live_from_;
  std::unique_ptr<char[]> decoded_;
  Timestamp decoded_timestamp_{};
  bool has_decoded_ = false;
  Place place_ = Place::kEnd;
};

}  // namespace millrace
