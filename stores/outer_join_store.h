// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/key_value_store.h"
#include "millrace/serde.h"
#include "millrace/state_cache.h"
#include "millrace/time.h"

namespace millrace {

/// Which stream of a join a record came from.
enum class JoinSide : std::uint8_t { kRight = 0, kLeft = 1 };

/// Where records without a match wait for their window to close:
///
///     +----------------+-----------------------+-----+
///     | record time    | left 1, right 0       | key |
///     | i64            | 1 byte                |     |
///     +----------------+-----------------------+-----+
///
/// Big-endian, as all here: keys are in the order of their times, which are not negative.
struct OuterJoinKey {
  Timestamp time;
  JoinSide side = JoinSide::kLeft;
  std::string key;  ///< As its serde encodes it.

  friend bool operator==(const OuterJoinKey&, const OuterJoinKey&) = default;
};

/// The values that wait under one key, each as its serde encodes it, in the order they came:
///
///     +---------+-----------+--------------------------------------------------+
///     | 1       | count     | count times: length  | left 1, right 0 | value    |
///     | 1 byte  | i32       |              i32     | 1 byte          | length-1 |
///     +---------+-----------+--------------------------------------------------+
struct OuterJoinValues {
  struct Value {
    JoinSide side = JoinSide::kLeft;
    std::string bytes;

    friend bool operator==(const Value&, const Value&) = default;
  };
  std::vector<Value> values;
};

template <>
struct Serde<OuterJoinKey> {
  static void encode(const OuterJoinKey& key, std::string& out);
  static Result<OuterJoinKey> decode(std::string_view bytes);
};

template <>
struct Serde<OuterJoinValues> {
  static void encode(const OuterJoinValues& values, std::string& out);
  static Result<OuterJoinValues> decode(std::string_view bytes);
};

/// The records of a left or outer join that have no match yet, in the order of their times. A
/// key-value store in all else: layout, changelog, restore.
class OuterJoinStore {
 public:
  /// Both are used as KeyValueStore does.
  OuterJoinStore(StateCache& cache, std::function<Timestamp()> now)
      : waiting_(cache, std::move(now)) {}

  /// A record waits.
  void add(const OuterJoinKey& key, std::string value);

  /// Those that wait under `key` have found a match, or their window has closed.
  void remove(const OuterJoinKey& key) { waiting_.erase(key); }

  /// Hands all that waits to `visit`, earliest first, until it returns false. `visit` may remove
  /// what it is handed.
  void visit(const std::function<bool(const OuterJoinKey&, const OuterJoinValues&)>& visit) const;

 private:
  KeyValueStore<OuterJoinKey, OuterJoinValues> waiting_;
};

}  // namespace millrace
