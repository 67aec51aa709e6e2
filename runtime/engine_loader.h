// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/key_layout.h"
#include "runtime/restore.h"
#include "runtime/task_engines.h"

namespace millrace {

/// Collects the last value per engine key of changelog records and writes them to an engine, in
/// sorted batches. Expired ones are left out, and what the engine has of them is erased.
class EngineLoader {
 public:
  /// All is borrowed.
  EngineLoader(const TaskEngines::Place& place, const KeyLayout& layout)
      : place_(place), layout_(layout) {}

  /// Before the first record: takes over the time that the engine has observed.
  Status open();

  /// Returns how many of them count: those with a key that is not `kClockKey`. No store writes null
  /// keys, and those of a stranger cannot be kept.
  std::size_t add(std::span<const LogRecord> records);

  /// Of what has been collected since the last `write`.
  [[nodiscard]] std::size_t bytes() const { return bytes_ + entries_.size() * kPlaceBytes; }

  /// After this the engine holds what was added, and says that it stands at `position`.
  Status write(const EnginePosition& position);

 private:
  // The newest that is known of a key. Its bytes follow: the key, then room for the value.
  struct Entry {
    static constexpr std::uint32_t kDeleted = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t key_size;
    std::uint32_t value_room;
    std::uint32_t value_size;

    char* bytes() { return reinterpret_cast<char*>(this + 1); }
    std::string_view key() { return {bytes(), key_size}; }
  };
  // A hash is spread already: the map needs no second one.
  struct SpreadHash {
    using is_avalanching = void;
    std::size_t operator()(std::uint64_t hash) const { return hash; }
  };
  static constexpr std::size_t kBlockBytes = std::size_t{256} << 10;
  // Of an entry in `entries_` and `newest_`.
  static constexpr std::size_t kPlaceBytes = 40;

  bool engine_key(const LogRecord& record);
  void collect(const LogRecord& record, std::uint64_t hash);
  Entry* make_entry(std::string_view key, std::size_t value_room);
  std::vector<EngineChange> sorted_changes();
  void observe(const std::vector<EngineChange>& changes);

  const TaskEngines::Place& place_;
  const KeyLayout& layout_;
  std::vector<Entry*> entries_;  // In `blocks_`.
  // By the hash of the key. Whose value has outgrown its room, or whose hash is another key's too,
  // may have several entries: the one found here, or else the latest, counts.
  boost::unordered_flat_map<std::uint64_t, Entry*, SpreadHash> newest_;
  bool repeated_ = false;  // Whether a key may have several entries.
  std::vector<std::uint64_t> hashes_;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* end_ = nullptr;
  std::size_t room_ = 0;
  std::size_t bytes_ = 0;
  std::string_view key_;  // Of the record in hand, in the engine.
  std::string key_bytes_;
  std::string value_;
  std::int64_t observed_ = KeyLayout::kNoTime;
  std::int64_t observed_by_engine_ = KeyLayout::kNoTime;
};

}  // namespace millrace
