// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "millrace/key_layout.h"
#include "millrace/serde.h"
#include "millrace/state_cache.h"

namespace millrace {
namespace detail {

/// What a versioned store keeps for a key and a time: the value from then on, or that there is
/// none.
template <class V>
struct Version {
  std::optional<V> value;
};

/// The versions of keys as bytes: the untyped half of VersionedStore. Times are milliseconds, 0 or
/// more.
class Versions {
 public:
  explicit Versions(StateCache& cache) : cache_(&cache) {}

  /// Stands at the version of `key` in effect at `time`, which may be a deletion; invalid if there
  /// is none. Times before the history know the latest version only, if it was in effect then.
  [[nodiscard]] std::unique_ptr<StateScan> as_of(std::string_view key, std::int64_t time) const;

  /// The entry for a version that is about to be put; null if its time has expired. Versions of the
  /// key that nobody can ask for any more are dropped. Throws StatusError for a negative time.
  StateEntry* prepare_put(std::string_view key, std::int64_t time);

 private:
  [[nodiscard]] std::unique_ptr<StateScan> down_from(std::string_view key, std::int64_t time,
                                                     StateCache::Extent extent) const;
  void drop_unreachable(std::string_view key);

  StateCache* cache_;
  mutable std::string first_;
  mutable std::string last_;
};

}  // namespace detail

/// One byte (1, or 0 for a deletion), then the value.
template <class V>
struct Serde<detail::Version<V>> {
  static void encode(const detail::Version<V>& version, std::string& out) {
    out += version.value ? KeyLayout::kPresentVersion : KeyLayout::kDeletedVersion;
    if (version.value) Serde<V>::encode(*version.value, out);
  }
  static Result<detail::Version<V>> decode(std::string_view bytes) {
    if (bytes.empty()) return Status::invalid_argument("a version without its first byte");
    if (bytes[0] == KeyLayout::kDeletedVersion) return detail::Version<V>{};
    auto value = Serde<V>::decode(bytes.substr(1));
    if (!value) return value.error();
    return detail::Version<V>{*std::move(value)};
  }
};

}  // namespace millrace
