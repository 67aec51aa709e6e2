// SPDX-License-Identifier: Apache-2.0
#include "stores/outer_join_store.h"

#include "stores/big_endian.h"

namespace millrace {
namespace {

// The elements are of any length. Kafka Streams' lists know others, which these never have.
constexpr char kVariableLength = 1;

Result<JoinSide> take_side(std::string_view& bytes) {
  if (bytes.empty() || (bytes[0] != 0 && bytes[0] != 1)) {
    return Status::invalid_argument("an outer join's record does not say which side it is of");
  }
  const auto side = static_cast<JoinSide>(bytes[0]);
  bytes.remove_prefix(1);
  return side;
}

}  // namespace

void Serde<OuterJoinKey>::encode(const OuterJoinKey& key, std::string& out) {
  append_big_endian(out, to_millis(key.time));
  out += static_cast<char>(key.side);
  out += key.key;
}

Result<OuterJoinKey> Serde<OuterJoinKey>::decode(std::string_view bytes) {
  if (bytes.size() < sizeof(std::int64_t)) {
    return Status::invalid_argument("an outer join's key is shorter than its time");
  }
  const Timestamp time = from_millis(take_big_endian<std::int64_t>(bytes));
  const auto side = take_side(bytes);
  if (!side) return side.error();
  return OuterJoinKey{time, *side, std::string{bytes}};
}

void Serde<OuterJoinValues>::encode(const OuterJoinValues& values, std::string& out) {
  out += kVariableLength;
  append_big_endian(out, static_cast<std::int32_t>(values.values.size()));
  for (const auto& value : values.values) {
    append_big_endian(out, static_cast<std::int32_t>(value.bytes.size() + 1));
    out += static_cast<char>(value.side);
    out += value.bytes;
  }
}

Result<OuterJoinValues> Serde<OuterJoinValues>::decode(std::string_view bytes) {
  constexpr std::size_t kLength = sizeof(std::int32_t);
  if (bytes.size() < 1 + kLength || bytes[0] != kVariableLength) {
    return Status::invalid_argument("not the list of an outer join");
  }
  bytes.remove_prefix(1);
  OuterJoinValues list;
  for (auto count = take_big_endian<std::int32_t>(bytes); count > 0; --count) {
    if (bytes.size() < kLength)
      return Status::invalid_argument("a list of an outer join is cut short");
    const auto length = take_big_endian<std::int32_t>(bytes);
    if (length < 1 || bytes.size() < static_cast<std::size_t>(length)) {
      return Status::invalid_argument("a list of an outer join is cut short");
    }
    std::string_view value = bytes.substr(0, static_cast<std::size_t>(length));
    bytes.remove_prefix(value.size());
    const auto side = take_side(value);
    if (!side) return side.error();
    list.values.push_back({*side, std::string{value}});
  }
  if (!bytes.empty()) return Status::invalid_argument("bytes behind the list of an outer join");
  return list;
}

void OuterJoinStore::add(const OuterJoinKey& key, std::string value) {
  OuterJoinValues values = waiting_.get(key).value_or(OuterJoinValues{});
  values.values.push_back({key.side, std::move(value)});
  waiting_.put(key, std::move(values));
}

void OuterJoinStore::visit(
    const std::function<bool(const OuterJoinKey&, const OuterJoinValues&)>& visit) const {
  for (const auto& entry : waiting_.all()) {
    if (!visit(entry.key, entry.value)) return;
  }
}

}  // namespace millrace
