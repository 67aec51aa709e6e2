// SPDX-License-Identifier: Apache-2.0
//
// Keys with a time to live on a real broker: the changelog as others see it, and the state after
// kill -9 with the disk kept and lost.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <random>

#include "tests/integration/count_job.h"
#include "tests/support/seed.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kProgram = "04_ttl";

// An hour ago: brokers take no record from a later time than that ahead of theirs.
std::int64_t an_hour_ago() {
  const auto now = std::chrono::system_clock::now() - std::chrono::hours{1};
  return std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count();
}

// What the changelog says of a key: values (null: -1) and timestamps, in order.
using History = std::vector<std::pair<std::int64_t, std::int64_t>>;

History history(CountJob& job, const std::string& key) {
  History found;
  if (job.kafka.partitions(job.changelog) == 0) return found;
  for (const auto& record : job.kafka.read_all(job.changelog)) {
    if (record.key != key) continue;
    found.emplace_back(record.value ? from_big_endian(*record.value) : -1, record.timestamp);
  }
  return found;
}

bool has_tombstone(CountJob& job, const std::string& key) {
  const History found = history(job, key);
  return !found.empty() && found.back().first == -1;
}

int status_of(Process& process, const std::string& key) {
  return process.get("/stores/counts/" + key).status;
}

BOOST_AUTO_TEST_SUITE(ttl)

// KF-25, KF-27, KF-29: what is over is a tombstone in the changelog, and stays over.
BOOST_AUTO_TEST_CASE(kill_9_neither_loses_nor_revives_a_key) {
  CountJob job{1};
  const std::int64_t begin = an_hour_ago();
  const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "one"}, {"TTL_MS", "60000"}};
  const auto put = [&](const std::string& key, std::int64_t at) {
    job.kafka.produce(job.input, {{key, "v", 0, begin + at}});
    BOOST_REQUIRE(job.wait_until_processed());
  };
  auto process = job.start("one", settings, kProgram);
  put("a", 0);
  put("b", 30'000);
  process->kill();
  process = job.start("one", settings, kProgram);
  put("c", 59'999);
  BOOST_TEST(status_of(*process, "a") == 200);
  put("c", 60'000);
  BOOST_TEST(status_of(*process, "a") == 404);
  BOOST_TEST(status_of(*process, "b") == 200);
  BOOST_REQUIRE(wait_until([&] { return has_tombstone(job, "a"); }, seconds{30}));
  BOOST_TEST(
      metric(process->get("/metrics").body, "millrace_store_expired_keys_total").value_or(0) == 1);
  process->kill();
  job.wipe("one");
  process = job.start("one", settings, kProgram);
  BOOST_REQUIRE(process->wait_for_log("state RESTORING -> RUNNING", seconds{60}));
  BOOST_TEST(status_of(*process, "a") == 404);
  BOOST_TEST(status_of(*process, "b") == 200);
  put("a", 89'999);  // Anew.
  put("d", 90'000);
  BOOST_TEST(status_of(*process, "b") == 404);
  BOOST_REQUIRE(wait_until([&] { return has_tombstone(job, "b"); }, seconds{30}));
  BOOST_TEST(process->stop().value_or(-1) == 0);

  BOOST_TEST((history(job, "a") == History{{1, begin}, {-1, begin + 60'000}, {1, begin + 89'999}}));
  BOOST_TEST((history(job, "b") == History{{1, begin + 30'000}, {-1, begin + 90'000}}));
  BOOST_TEST((job.kafka.counts(job.changelog) == Counts{{"a", 1}, {"c", 2}, {"d", 1}}));
  BOOST_TEST((job.kafka.counts(job.output) == Counts{{"a", 1}, {"c", 2}, {"d", 1}}));
}

// KF-29: killed at random moments, the disk kept and deleted in turn; the same input in one go is
// the reference.
BOOST_AUTO_TEST_CASE(killed_at_random_moments_every_key_ends_at_its_time) {
  constexpr int kRounds = 6;
  constexpr std::int64_t kTtl = 2'000;
  const auto seed = asked_seed().value_or(std::random_device{}());
  BOOST_TEST_MESSAGE("MILLRACE_TEST_SEED=" << seed);
  std::mt19937_64 random{seed};
  CountJob job{1};
  const Environment settings{{"MILLRACE_GROUP_INSTANCE_ID", "one"},
                             {"MILLRACE_COMMIT_INTERVAL_MS", "50"},
                             {"MILLRACE_CHECKPOINT_INTERVAL_MS", "300"},
                             {"TTL_MS", std::to_string(kTtl)}};
  struct Count {
    std::int64_t count = 0;
    std::int64_t written = 0;
  };
  std::map<std::string, Count> reference;
  const std::int64_t begin = an_hour_ago();
  std::int64_t now = begin;
  for (int round = 0; round < kRounds; ++round) {
    auto process = job.start("one", settings, kProgram);
    BOOST_TEST_REQUIRE(process->wait_for_log("-> RUNNING", seconds{30}), process->log());
    for (int pulse = 0; pulse < 10; ++pulse) {
      std::vector<NewRecord> batch;
      for (int i = 0; i < 1000; ++i) {
        now += static_cast<std::int64_t>(random() % 3);
        // Few keys that live on, many that are seen once or twice.
        const std::string key =
            "key-" + std::to_string(random() % (random() % 2 == 0 ? 50 : 20'000));
        Count& entry = reference[key];
        if (entry.written + kTtl <= now) entry.count = 0;
        entry = {entry.count + 1, now};
        batch.push_back({key, "v", 0, now});
      }
      job.kafka.produce(job.input, batch);
      let_pass(milliseconds{random() % 60});
    }
    process->kill();
    if (round % 2 == 1) job.wipe("one");
  }
  auto process = job.start("one", settings, kProgram);
  BOOST_REQUIRE(job.wait_until_processed());
  for (const auto& [key, entry] : reference) {
    if (entry.written + kTtl > now) job.expected[key] = entry.count;
  }
  // What has expired is removed step by step, here: with each commit.
  BOOST_TEST(wait_until([&] { return job.error_in_changelog().empty(); }, seconds{60}));
  BOOST_TEST(job.error_in_changelog() == "");
  BOOST_TEST(job.error_in_output() == "");
  BOOST_TEST(job.expected.size() > 50U);
  BOOST_TEST(job.expected.size() < reference.size() / 2);
  BOOST_TEST(process->stop().value_or(-1) == 0);
}

// By the wall clock the changelog carries the time of the write, so that a restore from it alone
// ends the key when it would have ended.
BOOST_AUTO_TEST_CASE(by_the_wall_clock_a_key_ends_without_further_records_also_after_kill_9) {
  CountJob job{1};
  const Environment settings{
      {"MILLRACE_GROUP_INSTANCE_ID", "one"}, {"TTL_CLOCK", "wall"}, {"TTL_MS", "3000"}};
  auto process = job.start("one", settings, kProgram);
  job.kafka.produce(job.input, {{"a", "v", 0, an_hour_ago()}});
  BOOST_REQUIRE(job.wait_until_processed());
  process->kill();
  job.wipe("one");
  process = job.start("one", settings, kProgram);
  BOOST_REQUIRE(wait_until([&] { return has_tombstone(job, "a"); }, seconds{60}));
  BOOST_TEST(status_of(*process, "a") == 404);
  const History found = history(job, "a");
  BOOST_REQUIRE(found.size() == 2U);
  BOOST_TEST(found[0].first == 1);
  BOOST_TEST(found[0].second > an_hour_ago() + 60'000);  // Not the record's.
  BOOST_TEST(found[1].second == found[0].second + 3000);
  BOOST_TEST(process->stop().value_or(-1) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
