// SPDX-License-Identifier: Apache-2.0
#include "millrace/graph.h"

namespace millrace {
namespace {

// Far beyond any use, far within what times can be computed with.
constexpr std::chrono::milliseconds kRetentionMax = std::chrono::years{1000};

std::string shown(std::chrono::milliseconds duration) {
  return std::to_string(duration.count()) + " ms";
}

void check(const StoreOptions& store, std::string_view kind, std::string_view field,
           std::chrono::milliseconds value, std::chrono::milliseconds min) {
  if (value >= min && value <= kRetentionMax) return;
  throw TopologyError(std::string{kind} + " store '" + store.name() + "': " + std::string{field} +
                      " is " + shown(value) + "; it is required, from " + shown(min) + " to " +
                      shown(kRetentionMax));
}

void check_no_ttl(const StoreOptions& store, std::string_view kind, std::string_view field) {
  if (!store.ttl()) return;
  throw TopologyError(
      std::string{kind} + " store '" + store.name() +
      "': StoreOptions::ttl is for key-value stores; what this one keeps expires by " +
      std::string{field} + ", leave the ttl out");
}

}  // namespace

KeyLayout layout_of(const StoreOptions& store) {
  if (!store.ttl()) return {};
  check(store, "key-value", "StoreOptions::ttl", *store.ttl(), std::chrono::milliseconds{1});
  return KeyLayout::with_ttl(*store.ttl(), store.ttl_clock());
}

KeyLayout layout_of(const StoreOptions& store, const WindowStoreOptions& options) {
  check_no_ttl(store, "window", "its retention");
  constexpr std::chrono::milliseconds kMin{1};
  check(store, "window", "WindowStoreOptions::size", options.size, kMin);
  check(store, "window", "WindowStoreOptions::retention", options.retention, kMin);
  if (options.retention < options.size) {
    throw TopologyError("window store '" + store.name() + "': the retention (" +
                        shown(options.retention) + ") is shorter than a window (" +
                        shown(options.size) +
                        "), so that windows would expire before they end; make it the size and the "
                        "grace period at least");
  }
  return KeyLayout::window(options.size, options.retention, options.duplicates);
}

KeyLayout layout_of(const StoreOptions& store, const SessionStoreOptions& options) {
  check_no_ttl(store, "session", "its retention");
  check(store, "session", "SessionStoreOptions::retention", options.retention,
        std::chrono::milliseconds{1});
  return KeyLayout::session(options.retention);
}

KeyLayout layout_of(const StoreOptions& store, const VersionedStoreOptions& options) {
  check_no_ttl(store, "versioned", "its history_retention");
  check(store, "versioned", "VersionedStoreOptions::history_retention", options.history_retention,
        std::chrono::milliseconds{0});
  return KeyLayout::versioned(options.history_retention);
}

}  // namespace millrace
