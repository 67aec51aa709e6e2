// SPDX-License-Identifier: Apache-2.0
#include "runtime/commit_point.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include <boost/test/unit_test.hpp>

#include "runtime/commit.h"
#include "runtime/partitioner.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;

CommitPoint some_point(std::size_t stores = 2) {
  CommitPoint point;
  point.lineage = 0xfedcba9876543210U;
  point.cluster = 42;
  point.sequence = 7;
  point.committed_at = from_millis(1'700'000'000'123);
  point.sources = {{"left", 5}, {"right", 6}};
  point.partition_times = {{"left", from_millis(1000)}};
  for (std::size_t i = 0; i < stores; ++i) {
    const std::string topic = "app-store-" + std::to_string(i) + "-changelog";
    point.changelog_ends[topic] = static_cast<std::int64_t>(i) << 40U;
    if (i > 0) point.changelog_stores[topic] = store_hash("store-" + std::to_string(i));
  }
  return point;
}

CommittedOffset stored(const CommitPoint& point, const std::string& topic) {
  return {{topic, 0}, point.sources.at(topic), *encode_metadata(point, topic)};
}

nlohmann::json vectors() {
  std::ifstream file(MILLRACE_SOURCE_DIR "/tests/conformance/data/recorded-vectors.json");
  BOOST_REQUIRE(file.good());
  return nlohmann::json::parse(file);
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

BOOST_AUTO_TEST_SUITE(commit_point)

BOOST_AUTO_TEST_CASE(what_is_encoded_is_decoded) {
  auto point = some_point();
  point.carried = {{topic_hash("gone"), store_hash("gone"), std::int64_t{1} << 40U}, {7, 8, 9}};
  const auto metadata = encode_metadata(point, "left");
  BOOST_REQUIRE(metadata.has_value());
  const auto decoded = decode_metadata(*metadata);
  BOOST_REQUIRE(decoded.has_value());
  BOOST_TEST(decoded->lineage == point.lineage);
  BOOST_TEST(decoded->cluster == point.cluster);
  BOOST_TEST(decoded->sequence == point.sequence);
  BOOST_CHECK(decoded->committed_at == point.committed_at);
  BOOST_CHECK(decoded->partition_time == from_millis(1000));
  BOOST_TEST(decoded->sources.size() == 2U);
  BOOST_TEST(decoded->sources.at(topic_hash("right")) == 6);
  BOOST_TEST(decoded->changelog_ends.size() == 2U);
  BOOST_TEST(decoded->changelog_ends.at(topic_hash("app-store-1-changelog")) == std::int64_t{1}
                                                                                    << 40U);
  BOOST_TEST(decoded->changelog_stores.at(topic_hash("app-store-0-changelog")) == 0U);
  BOOST_TEST(decoded->changelog_stores.at(topic_hash("app-store-1-changelog")) ==
             store_hash("store-1"));
  BOOST_REQUIRE(decoded->carried.size() == 2U);
  BOOST_TEST(decoded->carried[0].topic == topic_hash("gone"));
  BOOST_TEST(decoded->carried[0].store == store_hash("gone"));
  BOOST_TEST(decoded->carried[0].end == std::int64_t{1} << 40U);
  BOOST_TEST(decoded->carried[1].end == 9);
}

BOOST_AUTO_TEST_CASE(stores_up_to_149_fit_and_150_are_refused_with_the_reason) {
  const auto fits = encode_metadata(some_point(149), "left");
  BOOST_REQUIRE(fits.has_value());
  BOOST_TEST(fits->size() <= kOffsetMetadataBytesMax);
  BOOST_TEST(decode_metadata(*fits)->changelog_ends.size() == 149U);
  const auto refused = encode_metadata(some_point(150), "left");
  BOOST_REQUIRE(!refused.has_value());
  BOOST_CHECK(refused.error().code() == Code::kInvalidArgument);
  BOOST_TEST(refused.error().message().find("150 stores") != std::string::npos);
  BOOST_CHECK(!offsets_to_commit(some_point(150), {{"left", 0}}).has_value());
}

BOOST_AUTO_TEST_CASE(damaged_and_foreign_metadata_is_no_commit_point) {
  const auto metadata = *encode_metadata(some_point(), "left");
  for (std::size_t size = 0; size < metadata.size(); ++size) {
    BOOST_TEST(!decode_metadata(std::string_view{metadata}.substr(0, size)).has_value());
  }
  std::string broken = metadata;
  broken[30] = '!';
  BOOST_TEST(!decode_metadata(broken).has_value());
  for (const char* text : {"", "AgAAAAAAAAPo", "AgAAAAAAAAPoAAAAAQAAAAZjb3VudHMAAAAAAAAwOQ==",
                           "hello", "====", "{\"a\":1}"}) {
    BOOST_TEST(!decode_metadata(text).has_value());
    BOOST_TEST(valid_commit_points({{{"left", 0}, 5, text}}, 42).empty());
  }
  BOOST_TEST(!decode_metadata(std::string(100'000, 'A')).has_value());
}

// B13, B14
BOOST_AUTO_TEST_CASE(
    a_commit_point_counts_only_for_its_cluster_and_its_offset_and_the_highest_sequence_wins) {
  auto older = some_point();
  auto newer = some_point();
  newer.sequence = 8;
  newer.sources["right"] = 60;
  BOOST_TEST(valid_commit_points({stored(older, "left")}, 42).size() == 1U);
  BOOST_TEST(valid_commit_points({stored(older, "left")}, 43).empty());
  auto moved = stored(older, "left");
  moved.offset = 4;
  BOOST_TEST(valid_commit_points({moved}, 42).empty());
  moved.offset.reset();
  BOOST_TEST(valid_commit_points({moved}, 42).empty());
  auto elsewhere = stored(older, "left");
  elsewhere.input.topic = "other";
  BOOST_TEST(valid_commit_points({elsewhere}, 42).empty());
  for (const auto& both : {std::vector{stored(older, "left"), stored(newer, "right")},
                           std::vector{stored(newer, "right"), stored(older, "left")}}) {
    const auto valid = valid_commit_points(both, 42);
    BOOST_TEST_REQUIRE(valid.size() == 2U);
    BOOST_TEST(valid[0].sequence == 8U);
    BOOST_TEST(valid[0].sources.at(topic_hash("right")) == 60);
  }
  BOOST_TEST(valid_commit_points({moved, stored(older, "right")}, 42).at(0).sequence == 7U);
}

BOOST_AUTO_TEST_CASE(random_metadata_never_harms) {
  millrace::testing::for_seeds("metadata fuzz", 20'000, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string text = random() % 2 == 0 ? *encode_metadata(some_point(random() % 5), "left")
                                         : std::string(random() % 300, 'A');
    for (std::size_t i = random() % 8 + 1; i > 0 && !text.empty(); --i) {
      text[random() % text.size()] = static_cast<char>(random() % 256);
    }
    static_cast<void>(decode_metadata(text));
    static_cast<void>(decode_partition_time(text));
    static_cast<void>(valid_commit_points({{{"left", 0}, 5, text}}, 42));
  });
}

// What Java's own class wrote: reference/kafka-streams.md 2.9.
BOOST_AUTO_TEST_CASE(partition_times_of_kafka_streams_are_read_and_ours_begin_as_theirs) {
  const auto recorded = vectors()["offset_metadata"];
  BOOST_REQUIRE(recorded.size() == 3U);
  for (const auto& vector : recorded) {
    const auto millis = vector["partition_time_ms"].get<std::int64_t>();
    const auto text = vector["committed_offset_metadata"].get<std::string>();
    const auto time = decode_partition_time(text);
    BOOST_TEST(time.has_value() == (millis >= 0));
    if (time) BOOST_TEST(to_millis(*time) == millis);

    auto point = some_point();
    point.partition_times.clear();
    if (millis >= 0) point.partition_times["left"] = from_millis(millis);
    const auto ours = *encode_metadata(point, "left");
    BOOST_TEST(ours.substr(0, 12) == text.substr(0, 12));
    BOOST_CHECK(decode_partition_time(ours) == time);
  }
}

// KF-44
BOOST_AUTO_TEST_CASE(keys_go_to_the_partitions_that_java_chooses) {
  const auto recorded = vectors()["hashes"];
  BOOST_REQUIRE(recorded.size() == 20U);
  for (const auto& vector : recorded) {
    const auto key = from_hex(vector["key_hex"].get<std::string>());
    BOOST_TEST(static_cast<std::int32_t>(murmur2(key)) ==
               vector["murmur2_i32"].get<std::int32_t>());
    for (const auto& [count, partition] : vector["partition_of"].items()) {
      BOOST_TEST(partition_of(key, std::stoi(count)) == partition.get<std::int32_t>());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
