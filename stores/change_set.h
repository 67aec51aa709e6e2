// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "millrace/state_cache.h"

namespace millrace {

/// The serialised changes of one commit of one store. Addresses are stable: entries point at their
/// changes.
class ChangeSet {
 public:
  explicit ChangeSet(std::size_t changes_max) { changes_.reserve(changes_max); }

  /// Copies `engine_value` in. At most `changes_max` calls. The key is borrowed from the cache
  /// entry.
  const Change& add(std::string_view key, std::string_view engine_value, Timestamp timestamp) {
    changes_.push_back({key, store(engine_value), false, true, timestamp});
    return changes_.back();
  }
  const Change& add_deletion(std::string_view key, Timestamp timestamp, bool logged) {
    changes_.push_back({key, {}, true, logged, timestamp});
    return changes_.back();
  }
  const Change& add_withdrawal(std::string_view key, std::string_view in_effect,
                               Timestamp timestamp) {
    changes_.push_back({key, store(in_effect), true, true, timestamp, true});
    return changes_.back();
  }

  [[nodiscard]] const std::vector<Change>& changes() const { return changes_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_ + changes_.capacity() * sizeof(Change); }

 private:
  static constexpr std::size_t kBlockBytes = std::size_t{64} << 10;

  std::string_view store(std::string_view bytes) {
    if (bytes.size() > room_) {
      room_ = bytes.size() > kBlockBytes ? bytes.size() : kBlockBytes;
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(room_));
      end_ = blocks_.back().get();
      bytes_ += room_;
    }
    char* begin = end_;
    bytes.copy(begin, bytes.size());
    end_ += bytes.size();
    room_ -= bytes.size();
    return {begin, bytes.size()};
  }

  std::vector<Change> changes_;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* end_ = nullptr;
  std::size_t room_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace millrace
