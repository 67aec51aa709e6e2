// SPDX-License-Identifier: Apache-2.0
#include "stores/position_record.h"

#include "stores/big_endian.h"

namespace millrace {
namespace {

constexpr char kVersion = 1;
constexpr std::size_t kPositionBytes = 1 + 8 + 8 + 8;
constexpr std::size_t kSourceOffsetsBytesMin = 1 + 4;

Status not_understood(std::string_view what, std::string_view bytes) {
  return Status::corruption("the stored " + std::string{what} + " (" +
                            std::to_string(bytes.size()) +
                            " bytes) is damaged or was written by a newer version");
}

}  // namespace

std::string encode_position(const EnginePosition& position) {
  std::string bytes;
  bytes.reserve(kPositionBytes);
  bytes.push_back(kVersion);
  append_big_endian(bytes, position.lineage);
  append_big_endian(bytes, position.next_offset);
  append_big_endian(bytes, to_millis(position.checkpointed_at));
  return bytes;
}

Result<EnginePosition> decode_position(std::string_view bytes) {
  if (bytes.size() != kPositionBytes || bytes.front() != kVersion) {
    return not_understood("position", bytes);
  }
  bytes.remove_prefix(1);
  EnginePosition position;
  position.lineage = take_big_endian<std::uint64_t>(bytes);
  position.next_offset = take_big_endian<std::int64_t>(bytes);
  position.checkpointed_at = from_millis(take_big_endian<std::int64_t>(bytes));
  return position;
}

std::string encode_source_offsets(const std::map<std::string, std::int64_t>& offsets) {
  std::string bytes;
  bytes.push_back(kVersion);
  append_big_endian(bytes, static_cast<std::uint32_t>(offsets.size()));
  for (const auto& [name, offset] : offsets) {
    append_big_endian(bytes, static_cast<std::uint32_t>(name.size()));
    bytes += name;
    append_big_endian(bytes, offset);
  }
  return bytes;
}

Result<std::map<std::string, std::int64_t>> decode_source_offsets(std::string_view bytes) {
  const std::string_view all = bytes;
  if (bytes.size() < kSourceOffsetsBytesMin || bytes.front() != kVersion) {
    return not_understood("source offsets", all);
  }
  bytes.remove_prefix(1);
  std::map<std::string, std::int64_t> offsets;
  for (auto count = take_big_endian<std::uint32_t>(bytes); count > 0; --count) {
    if (bytes.size() < 4) return not_understood("source offsets", all);
    const auto length = take_big_endian<std::uint32_t>(bytes);
    if (bytes.size() < std::size_t{length} + 8) return not_understood("source offsets", all);
    std::string name{bytes.substr(0, length)};
    bytes.remove_prefix(length);
    offsets[std::move(name)] = take_big_endian<std::int64_t>(bytes);
  }
  if (!bytes.empty()) return not_understood("source offsets", all);
  return offsets;
}

}  // namespace millrace
