// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/key_layout.h"
#include "runtime/restore.h"
#include "runtime/task_engines.h"

namespace millrace {

/// Collects changelog records and writes the last value per engine key to an engine, in sorted
/// batches. Expired ones are left out, and what the engine has of them is erased.
class EngineLoader {
 public:
  /// All is borrowed.
  EngineLoader(const TaskEngines::Place& place, const KeyLayout& layout, std::uint64_t lineage,
               const Clock& clock)
      : place_(place), layout_(layout), lineage_(lineage), clock_(clock) {}

  /// Before the first record: takes over the time that the engine has observed.
  Status open();

  /// Precondition: the record has a key.
  void add(const LogRecord& record);

  /// Of the records collected since the last `write`.
  [[nodiscard]] std::size_t bytes() const { return bytes_ + items_.size() * sizeof(Item); }

  /// After this the engine holds the changelog up to `next_offset`.
  Status write(std::int64_t next_offset);

 private:
  struct Item {
    std::string_view key;
    std::optional<std::string_view> value;
  };
  static constexpr std::size_t kBlockBytes = std::size_t{256} << 10;

  void observe(const std::vector<EngineChange>& changes);
  std::string_view store(std::string_view bytes);

  const TaskEngines::Place& place_;
  const KeyLayout& layout_;
  const std::uint64_t lineage_;
  const Clock& clock_;
  std::vector<Item> items_;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* end_ = nullptr;
  std::size_t room_ = 0;
  std::size_t bytes_ = 0;
  std::string key_;
  std::string value_;
  std::int64_t observed_ = KeyLayout::kNoTime;
  std::int64_t observed_by_engine_ = KeyLayout::kNoTime;
};

}  // namespace millrace
