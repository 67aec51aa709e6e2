// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>

#include "runtime/memory_log.h"

namespace {

using namespace millrace;
using namespace std::chrono_literals;

// A changelog of one-letter keys and values; '-' is a tombstone.
struct Changelog {
  Changelog() { log.create_topic(where.topic, 1); }

  void append(const std::string& key, const std::string& value, std::chrono::milliseconds time) {
    const auto stored = value == "-" ? std::nullopt : std::optional{value};
    log.append(where, {key, stored, Timestamp{time}, {}});
  }
  void clean(std::chrono::milliseconds now, std::size_t segment_records = 1) {
    log.clean(where, {Timestamp{now}, 10min, 24h, segment_records});
  }
  std::string read() {
    std::string text;
    const auto end = log.ends(where)->end;
    const auto apply = [&](std::span<const LogRecord> records) -> Status {
      for (const LogRecord& record : records) {
        text += std::to_string(record.offset) + std::string{*record.key} +
                std::string{record.value.value_or("-")} + ' ';
      }
      return {};
    };
    BOOST_REQUIRE(log.read(where, 0, end, apply).ok());
    return text;
  }

  const TopicPartition where{"changelog", 0};
  MemoryLog log;
};

BOOST_AUTO_TEST_SUITE(memory_log)

BOOST_AUTO_TEST_CASE(compaction_keeps_the_last_record_of_a_key_where_it_is) {
  Changelog changelog;
  for (const char* key : {"a", "b", "a", "b", "a"}) changelog.append(key, "x", 0min);
  changelog.clean(1h);
  BOOST_TEST(changelog.read() == "2ax 3bx 4ax ");  // The last segment is not looked at.
  BOOST_TEST(changelog.log.ends(changelog.where)->start == 0);
  BOOST_TEST(changelog.log.ends(changelog.where)->end == 5);
}

BOOST_AUTO_TEST_CASE(the_lag_counts_in_record_time_and_guards_all_that_follows) {
  Changelog changelog;
  changelog.append("a", "1", 0min);
  changelog.append("a", "2", 50min);
  changelog.append("a", "3", 0min);
  changelog.append("z", "z", 0min);
  changelog.clean(55min);
  BOOST_TEST(changelog.read() == "0a1 1a2 2a3 3zz ");
  changelog.clean(55min, 2);  // One guarded record guards its segment.
  BOOST_TEST(changelog.read() == "0a1 1a2 2a3 3zz ");
  changelog.clean(61min);
  BOOST_TEST(changelog.read() == "2a3 3zz ");
}

BOOST_AUTO_TEST_CASE(tombstones_stay_for_the_delete_retention_after_they_were_seen) {
  Changelog changelog;
  changelog.append("a", "1", 0min);
  changelog.append("a", "-", 0min);
  changelog.append("z", "z", 0min);
  changelog.clean(1h);
  BOOST_TEST(changelog.read() == "1a- 2zz ");
  changelog.clean(24h);
  BOOST_TEST(changelog.read() == "1a- 2zz ");
  changelog.clean(25h);
  BOOST_TEST(changelog.read() == "2zz ");
}

BOOST_AUTO_TEST_CASE(an_open_transaction_is_not_compacted) {
  Changelog changelog;
  const auto topic = changelog.log.topic(changelog.where.topic)->id;
  const auto acks = changelog.log.new_tracker();
  changelog.append("a", "1", 0min);
  changelog.log.begin_transaction();
  BOOST_REQUIRE(changelog.log.produce(topic, 0, "a", "2", {}, nullptr, *acks).ok());
  changelog.append("z", "z", 0min);
  changelog.append("z", "z", 0min);
  changelog.clean(1h);
  BOOST_TEST(changelog.read() == "0a1 2zz 3zz ");
  changelog.log.end_transaction(true);
  changelog.clean(1h);
  BOOST_TEST(changelog.read() == "1a2 3zz ");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
