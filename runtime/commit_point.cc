// SPDX-License-Identifier: Apache-2.0
#include "runtime/commit_point.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <boost/beast/core/detail/base64.hpp>

#include "millrace/serde.h"

namespace millrace {
namespace {

// Layout, big endian, before base64:
//   02 | i64 partition time | i32 0       Kafka Streams' TopicPartitionMetadata, version 2
//   4d 52 | 02                            "MR", version
//   u64 lineage | u64 cluster | u64 sequence | i64 wall time
//   i32 n | n x (u64 topic hash | i64 next offset)              sources
//   i32 n | n x (u64 topic hash | i64 end)                      changelogs
//   n x u32 store hash                                          theirs, in the same order
//   i32 n | n x (u64 topic hash | i64 end | u32 store hash)     carried
constexpr char kStreamsVersion = 2;
constexpr std::string_view kMagic = "MR\x02";
constexpr std::int32_t kEntriesMax = 256;  // More do not fit into kOffsetMetadataBytesMax.

void put64(std::string& out, std::uint64_t value) {
  Serde<std::int64_t>::encode(static_cast<std::int64_t>(value), out);
}

template <class Map>
void put_entries(std::string& out, const Map& entries) {
  Serde<std::int32_t>::encode(static_cast<std::int32_t>(entries.size()), out);
  for (const auto& [topic, offset] : entries) {
    put64(out, topic_hash(topic));
    Serde<std::int64_t>::encode(offset, out);
  }
}

void put_store(std::string& out, std::uint32_t store) {
  Serde<std::int32_t>::encode(static_cast<std::int32_t>(store), out);
}

// Takes numbers off the front; every later read fails once one has failed.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  bool skip(std::string_view expected) {
    ok_ = ok_ && bytes_.starts_with(expected);
    if (ok_) bytes_.remove_prefix(expected.size());
    return ok_;
  }
  std::int64_t i64() { return take<std::int64_t>(); }
  std::uint64_t u64() { return static_cast<std::uint64_t>(i64()); }
  std::int32_t i32() { return take<std::int32_t>(); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(i32()); }
  bool ok() const { return ok_; }

  // The topics, in their order.
  std::vector<std::uint64_t> entries(std::map<std::uint64_t, std::int64_t>& into) {
    std::vector<std::uint64_t> topics;
    for (std::int32_t left = count(); ok_ && left > 0; --left) {
      topics.push_back(u64());
      into[topics.back()] = i64();
    }
    return topics;
  }
  void carried(std::vector<CarriedEnd>& into) {
    for (std::int32_t left = count(); ok_ && left > 0; --left) {
      CarriedEnd carried;
      carried.topic = u64();
      carried.end = i64();
      carried.store = u32();
      into.push_back(carried);
    }
  }

 private:
  std::int32_t count() {
    const std::int32_t count = i32();
    ok_ = ok_ && count >= 0 && count <= kEntriesMax;
    return count;
  }
  template <class T>
  T take() {
    ok_ = ok_ && bytes_.size() >= sizeof(T);
    if (!ok_) return 0;
    const auto value = Serde<T>::decode(bytes_.substr(0, sizeof(T)));
    bytes_.remove_prefix(sizeof(T));
    return *value;
  }

  std::string_view bytes_;
  bool ok_ = true;
};

namespace base64 = boost::beast::detail::base64;

std::optional<std::string> decoded(std::string_view metadata) {
  // The decoder writes what it can of an incomplete last group, beyond decoded_size: whole groups
  // only.
  if (metadata.empty() || metadata.size() > kOffsetMetadataBytesMax || metadata.size() % 4 != 0)
    return std::nullopt;
  std::string bytes(base64::decoded_size(metadata.size()), '\0');
  const auto [written, read] = base64::decode(bytes.data(), metadata.data(), metadata.size());
  if (metadata.substr(read).find_first_not_of('=') != std::string_view::npos) return std::nullopt;
  bytes.resize(written);
  return bytes;
}

std::string encoded(const CommitPoint& point, const std::string& source, bool with_carried) {
  std::string bytes(1, kStreamsVersion);
  const auto time = point.partition_times.find(source);
  Serde<std::int64_t>::encode(time == point.partition_times.end() ? -1 : to_millis(time->second),
                              bytes);
  Serde<std::int32_t>::encode(0, bytes);
  bytes += kMagic;
  put64(bytes, point.lineage);
  put64(bytes, point.cluster);
  put64(bytes, point.sequence);
  Serde<std::int64_t>::encode(to_millis(point.committed_at), bytes);
  put_entries(bytes, point.sources);
  put_entries(bytes, point.changelog_ends);
  for (const auto& [topic, end] : point.changelog_ends) {
    const auto store = point.changelog_stores.find(topic);
    put_store(bytes, store == point.changelog_stores.end() ? 0 : store->second);
  }
  const std::size_t carried =
      with_carried ? std::min(point.carried.size(), kCarriedEndsMax) : std::size_t{0};
  Serde<std::int32_t>::encode(static_cast<std::int32_t>(carried), bytes);
  for (std::size_t i = 0; i < carried; ++i) {
    put64(bytes, point.carried[i].topic);
    Serde<std::int64_t>::encode(point.carried[i].end, bytes);
    put_store(bytes, point.carried[i].store);
  }

  std::string text(base64::encoded_size(bytes.size()), '\0');
  text.resize(base64::encode(text.data(), bytes.data(), bytes.size()));
  return text;
}

}  // namespace

std::uint32_t store_hash(std::string_view store) {
  return static_cast<std::uint32_t>(topic_hash(store)) | 1U;
}

std::uint64_t topic_hash(std::string_view topic) { return XXH3_64bits(topic.data(), topic.size()); }

Result<std::string> encode_metadata(const CommitPoint& point, const std::string& source) {
  std::string text = encoded(point, source, true);
  if (text.size() > kOffsetMetadataBytesMax) text = encoded(point, source, false);
  if (text.size() > kOffsetMetadataBytesMax) {
    return Status::invalid_argument(
        "the commit point of a task with " + std::to_string(point.changelog_ends.size()) +
        " stores takes " + std::to_string(text.size()) + " bytes of offset metadata, " +
        std::to_string(kOffsetMetadataBytesMax) +
        " are allowed; split the topology so that fewer stores share a sub-topology");
  }
  return text;
}

std::optional<DecodedCommitPoint> decode_metadata(std::string_view metadata) {
  const auto bytes = decoded(metadata);
  if (!bytes) return std::nullopt;
  Reader reader{*bytes};
  DecodedCommitPoint point;
  reader.skip(std::string_view{&kStreamsVersion, 1});
  point.partition_time = from_millis(reader.i64());
  if (reader.i32() != 0 || !reader.skip(kMagic)) return std::nullopt;
  point.lineage = reader.u64();
  point.cluster = reader.u64();
  point.sequence = reader.u64();
  point.committed_at = from_millis(reader.i64());
  reader.entries(point.sources);
  for (const std::uint64_t topic : reader.entries(point.changelog_ends)) {
    point.changelog_stores[topic] = reader.u32();
  }
  reader.carried(point.carried);
  if (!reader.ok()) return std::nullopt;
  return point;
}

std::optional<Timestamp> decode_partition_time(std::string_view metadata) {
  const auto bytes = decoded(metadata);
  if (!bytes || bytes->size() < 9 || ((*bytes)[0] != kStreamsVersion && (*bytes)[0] != 1))
    return std::nullopt;
  const std::int64_t millis = *Serde<std::int64_t>::decode(std::string_view{*bytes}.substr(1, 8));
  if (millis < 0) return std::nullopt;
  return from_millis(millis);
}

std::vector<DecodedCommitPoint> valid_commit_points(const std::vector<CommittedOffset>& committed,
                                                    std::uint64_t cluster) {
  std::vector<DecodedCommitPoint> valid;
  for (const auto& partition : committed) {
    if (!partition.offset) continue;
    auto point = decode_metadata(partition.metadata);
    if (!point || point->cluster != cluster) continue;
    const auto inside = point->sources.find(topic_hash(partition.input.topic));
    if (inside == point->sources.end() || inside->second != *partition.offset) continue;
    valid.push_back(*std::move(point));
  }
  std::ranges::stable_sort(valid, std::ranges::greater{}, &DecodedCommitPoint::sequence);
  return valid;
}

}  // namespace millrace
