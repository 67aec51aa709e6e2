// SPDX-License-Identifier: Apache-2.0
//
// Key-value stores with a time to live through the test driver: tables and processors, what reaches
// changelogs and outputs, and restarts at every step with the disk kept and lost.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>

#include "millrace/test_driver.h"
#include "tests/runtime/task_harness.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;
using millrace::testing::for_seeds;
using std::chrono::milliseconds;

const Topic<std::string, std::int64_t> numbers{"numbers"};
const Topic<std::string, std::int64_t> out{"out"};

constexpr milliseconds kTtl{100};

class Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-ttl-XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Key, value or -1 for null, timestamp.
using Shown = std::vector<std::tuple<std::string, std::int64_t, std::int64_t>>;

Shown shown(const std::vector<TestDriver::RawOutput>& records) {
  Shown all;
  for (const auto& record : records) {
    const std::int64_t value = record.value ? *Serde<std::int64_t>::decode(*record.value) : -1;
    all.emplace_back(*record.key, value, to_millis(record.timestamp));
  }
  return all;
}

Topology counting(const StoreOptions& store) {
  Topology topology;
  topology.stream(numbers).group_by_key().count(store).to_stream().to(out);
  return topology;
}

std::int64_t expired_keys(const TestDriver& driver) {
  const std::string text = driver.metrics_text();
  const std::string name = "millrace_store_expired_keys_total{partition=\"0\",store=\"counts\"} ";
  const auto at = text.find(name);
  return at == std::string::npos ? -1 : std::stoll(text.substr(at + name.size()));
}

// Adds values up, and says how many keys it sees.
class Adding final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void start(Context& context) override {
    sums_.emplace(context.store<std::string, std::int64_t>("sums"));
  }
  void process(const Record<std::string, std::int64_t>& record, Context& context) override {
    sums_->put(record.key(), sums_->get(record.key()).value_or(0) + record.value());
    std::int64_t keys = 0;
    for ([[maybe_unused]] const auto& entry : sums_->all()) ++keys;
    context.forward("keys", keys);
  }

 private:
  std::optional<KeyValueStore<std::string, std::int64_t>> sums_;
};

BOOST_AUTO_TEST_SUITE(ttl)

// KF-25
BOOST_AUTO_TEST_CASE(by_event_time_a_count_ends_with_a_tombstone_and_begins_anew) {
  const Topology topology = counting(StoreOptions{"counts"}.ttl(kTtl));
  TestDriver driver{topology};
  auto input = driver.input(numbers);
  const auto counts = driver.store<std::string, std::int64_t>("counts");
  input.pipe("a", 1, from_millis(1000));
  input.pipe("a", 1, from_millis(1060));  // Renews it.
  input.pipe("b", 1, from_millis(1159));
  BOOST_TEST(*counts.get("a") == 2);
  input.pipe("b", 1, from_millis(1160));
  BOOST_TEST(!counts.get("a").has_value());
  BOOST_TEST(!counts.timestamp("a").has_value());
  BOOST_TEST(counts.all().size() == 1U);
  input.pipe("a", 1, from_millis(1161));
  BOOST_TEST(*counts.get("a") == 1);

  const Shown expected{{"a", 1, 1000}, {"a", 2, 1060},  {"b", 1, 1159},
                       {"b", 2, 1160}, {"a", -1, 1160}, {"a", 1, 1161}};
  BOOST_TEST((shown(driver.records("test-counts-changelog")) == expected));
  BOOST_TEST((shown(driver.records("out")) == expected));
  BOOST_TEST(expired_keys(driver) == 1);
}

BOOST_AUTO_TEST_CASE(a_table_that_hands_on_every_update_hands_on_what_expires_too) {
  const Topology topology = counting(StoreOptions{"counts"}.ttl(kTtl).forward_every_update());
  TestDriver driver{topology};
  auto input = driver.input(numbers);
  input.pipe("a", 1, from_millis(1000));
  input.pipe("b", 1, from_millis(1100));
  input.pipe("c", 1, from_millis(1100));
  BOOST_TEST((shown(driver.records("out")) ==
              Shown{{"a", 1, 1000}, {"b", 1, 1100}, {"a", -1, 1100}, {"c", 1, 1100}}));
}

BOOST_AUTO_TEST_CASE(a_record_that_is_over_when_it_comes_leaves_nothing) {
  const Topology topology = counting(StoreOptions{"counts"}.ttl(kTtl));
  TestDriver driver{topology};
  auto input = driver.input(numbers);
  input.pipe("a", 1, from_millis(1000));
  input.pipe("b", 1, from_millis(900));
  input.pipe("a", 1, from_millis(500));  // A count is as new as its newest record.
  const auto counts = driver.store<std::string, std::int64_t>("counts");
  BOOST_TEST(!counts.get("b").has_value());
  BOOST_TEST(*counts.get("a") == 2);
}

BOOST_AUTO_TEST_CASE(a_reducer_and_a_processor_see_no_key_that_is_over) {
  Topology topology;
  topology.store<std::string, std::int64_t>(StoreOptions{"sums"}.ttl(kTtl));
  auto stream = topology.stream(numbers);
  stream.process<Adding>(connects("sums")).to(out);
  stream.reduce<std::int64_t>(StoreOptions{"latest"}.ttl(kTtl),
                              [](const auto& record, std::optional<std::int64_t> state, auto&) {
                                return state.value_or(0) + record.value();
                              });
  TestDriver driver{topology, {.commit_every_record = false}};
  auto input = driver.input(numbers);
  input.pipe("a", 1, from_millis(1000));
  input.pipe("b", 1, from_millis(1050));
  input.pipe("a", 5, from_millis(1100));
  driver.commit();
  const auto sums = driver.store<std::string, std::int64_t>("sums");
  const auto latest = driver.store<std::string, std::int64_t>("latest");
  BOOST_TEST(*sums.get("a") == 5);
  BOOST_TEST(*latest.get("a") == 5);
  input.pipe("c", 1, from_millis(1150));
  BOOST_TEST((shown(driver.records("out")) ==
              Shown{{"keys", 1, 1000}, {"keys", 2, 1050}, {"keys", 2, 1100}, {"keys", 2, 1150}}));
  BOOST_TEST(!latest.get("b").has_value());
}

BOOST_AUTO_TEST_CASE(by_the_wall_clock_keys_go_while_nothing_arrives) {
  const Topology topology = counting(StoreOptions{"counts"}.ttl(kTtl, TtlClock::kWallClock));
  TestDriver driver{topology, {.start = from_millis(50'000)}};
  driver.input(numbers).pipe("a", 1, from_millis(3));
  driver.advance(milliseconds{99});
  const auto counts = driver.store<std::string, std::int64_t>("counts");
  BOOST_TEST(*counts.get("a") == 1);
  driver.advance(milliseconds{1});
  BOOST_TEST(!counts.get("a").has_value());
  driver.advance(milliseconds{1});
  const Shown expected{{"a", 1, 50'000}, {"a", -1, 50'100}};
  BOOST_TEST((shown(driver.records("test-counts-changelog")) == expected));
  BOOST_TEST((shown(driver.records("out")) == expected));
}

// A record that would have moved the time, but is skipped, moves nothing.
BOOST_AUTO_TEST_CASE(a_skipped_record_lets_no_key_expire) {
  Topology topology;
  topology.stream(numbers).reduce<std::int64_t>(
      StoreOptions{"counts"}.ttl(kTtl),
      [](const auto& record, std::optional<std::int64_t> state, auto&) {
        if (record.value() < 0) throw std::runtime_error("negative");
        return state.value_or(0) + record.value();
      });
  TestDriver driver{topology, {.on_error = ErrorPolicy::kSkip}};
  auto input = driver.input(numbers);
  input.pipe("a", 1, from_millis(1000));
  input.pipe("a", -1, from_millis(5000));
  const auto counts = driver.store<std::string, std::int64_t>("counts");
  BOOST_TEST(*counts.get("a") == 1);
  input.pipe("a", 1, from_millis(1099));
  BOOST_TEST(*counts.get("a") == 2);
  BOOST_TEST(expired_keys(driver) == 0);
}

// KF-27: restored from the changelog alone or from a checkpoint: gone at the same time as without.
BOOST_AUTO_TEST_CASE(a_restart_keeps_the_time_at_which_a_key_is_over) {
  for (const bool disk : {false, true}) {
    for (const auto clock : {TtlClock::kEventTime, TtlClock::kWallClock}) {
      Directory directory;
      TestDriverOptions options;
      if (disk) options.engine = engines::rocksdb();
      options.state_dir = directory.path();
      options.start = from_millis(1000);
      const Topology topology = counting(StoreOptions{"counts"}.ttl(kTtl, clock));
      TestDriver driver{topology, options};
      auto input = driver.input(numbers);
      const auto counts = driver.store<std::string, std::int64_t>("counts");
      const auto pass = [&](std::int64_t millis) {  // By either clock.
        driver.advance(milliseconds{millis});
        input.pipe("other", 1);
      };
      input.pipe("a", 1);
      pass(60);
      if (disk) driver.checkpoint();
      driver.crash_after(Step::kProcess);
      driver.commit();
      driver.restart();
      BOOST_TEST(*counts.get("a") == 1);
      BOOST_TEST(to_millis(*counts.timestamp("a")) == 1000);
      pass(39);
      BOOST_TEST(counts.get("a").has_value());
      pass(1);
      BOOST_TEST(!counts.get("a").has_value());
      driver.close();
      driver.restart();
      BOOST_TEST(!counts.get("a").has_value());
    }
  }
}

// KF-29: crashes at every step, the disk kept and lost in turn: neither loses a key nor revives
// one.
void random_life(std::uint64_t seed, TtlClock clock, bool disk) {
  std::mt19937_64 random{seed};
  const auto below = [&](std::uint64_t end) { return random() % end; };
  Directory directory;
  TestDriverOptions options;
  options.commit_every_record = false;
  options.start = from_millis(1'000'000);
  options.cache_bytes_max = below(2) == 0 ? 0 : std::size_t{1} << 20;
  if (disk) options.engine = engines::rocksdb();
  options.state_dir = directory.path();
  const Topology topology = counting(StoreOptions{"counts"}.ttl(kTtl, clock));
  TestDriver driver{topology, options};
  auto input = driver.input(numbers);

  // By the wall clock, records that a crash sends round again are counted at another time.
  struct Count {
    std::int64_t count = 0;
    Timestamp written{};
  };
  std::map<std::string, Count> counts;
  Timestamp now = options.start;
  const auto expire = [&] {
    std::erase_if(counts, [&](const auto& entry) { return entry.second.written + kTtl <= now; });
  };
  const auto check = [&] {
    expire();
    const auto found = driver.store<std::string, std::int64_t>("counts").all();
    BOOST_REQUIRE(found.size() == counts.size());
    for (const auto& entry : found) {
      BOOST_REQUIRE(counts.contains(entry.key));
      BOOST_REQUIRE(entry.value == counts[entry.key].count);
      BOOST_REQUIRE((entry.timestamp == counts[entry.key].written));
    }
  };

  constexpr std::array kSteps{Step::kProcess, Step::kProduce, Step::kFlush, Step::kCommit,
                              Step::kCheckpoint};
  for (int i = 0; i < 60; ++i) {
    const std::string key(1, static_cast<char>('a' + below(6)));
    Timestamp time = now + milliseconds{below(40)};
    if (clock == TtlClock::kWallClock) {
      driver.advance(time - now);
      now = time;
    } else if (i > 0 && below(4) == 0) {
      time -= milliseconds{below(150)};  // Out of order.
    }
    now = std::max(now, time);
    expire();
    input.pipe(key, 1, time);
    auto& entry = counts[key];
    entry = {entry.count + 1, std::max(entry.written, time)};
    if (below(4) == 0) driver.commit();
    if (below(6) == 0) driver.checkpoint();
    check();
    if (below(6) != 0) continue;
    if (clock == TtlClock::kWallClock) {  // The clock does not run again for a record.
      driver.commit();
      const milliseconds pause{below(60)};
      driver.advance(pause);
      now += pause;
    }
    driver.crash_after(kSteps.at(below(kSteps.size())), below(3));
    driver.commit();
    driver.checkpoint();
    if (!driver.crashed()) {  // There was nothing to commit.
      driver.crash_after(Step::kProcess);
      driver.commit();
    }
    if (below(3) == 0) std::filesystem::remove_all(directory.path() / "0_0");
    driver.restart();
    check();
  }
}

BOOST_AUTO_TEST_CASE(no_restart_loses_or_revives_a_key) {
  for_seeds("ttl, from the changelog", 400, [](std::uint64_t seed) {
    random_life(seed, seed % 2 == 0 ? TtlClock::kEventTime : TtlClock::kWallClock, false);
  });
  for_seeds("ttl, from a checkpoint", 40, [](std::uint64_t seed) {
    random_life(seed, seed % 2 == 0 ? TtlClock::kEventTime : TtlClock::kWallClock, true);
  });
}

// A foreign record is healed with the committed value at its own time, or with a tombstone.
BOOST_AUTO_TEST_CASE(healing_neither_renews_a_key_nor_brings_it_back) {
  const Topology topology = counting(StoreOptions{"counts"}.ttl(kTtl));
  TestDriver driver{topology};
  auto input = driver.input(numbers);
  input.pipe("a", 1, from_millis(1000));
  input.pipe("b", 1, from_millis(1050));
  std::string seven;
  Serde<std::int64_t>::encode(7, seven);
  for (const char* key : {"a", "b", "c"}) {
    driver.append("test-counts-changelog", 0, key, seven, from_millis(9000));
  }
  driver.restart();
  const auto counts = driver.store<std::string, std::int64_t>("counts");
  BOOST_TEST(*counts.get("a") == 1);
  BOOST_TEST(*counts.get("b") == 1);
  BOOST_TEST(!counts.get("c").has_value());
  input.pipe("d", 1, from_millis(1100));
  BOOST_TEST(!counts.get("a").has_value());
  driver.append("test-counts-changelog", 0, "a", seven, from_millis(9000));
  driver.restart();
  BOOST_TEST(!counts.get("a").has_value());
  BOOST_TEST(*counts.get("b") == 1);
}

BOOST_AUTO_TEST_CASE(a_time_to_live_out_of_bounds_or_of_another_kind_of_store_is_refused) {
  const auto error_of = [](const auto& build) -> std::string {
    Topology topology;
    try {
      build(topology);
    } catch (const TopologyError& error) {
      return error.what();
    }
    return {};
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  BOOST_TEST(has(error_of([](Topology& t) {
                   t.store<std::string, std::int64_t>(StoreOptions{"mine"}.ttl(milliseconds{0}));
                 }),
                 "key-value store 'mine': StoreOptions::ttl is 0 ms"));
  BOOST_TEST(has(error_of([](Topology& t) {
                   t.stream(numbers).group_by_key().count(
                       StoreOptions{"mine"}.ttl(milliseconds::max()));
                 }),
                 "StoreOptions::ttl is"));
  BOOST_TEST(has(error_of([](Topology& t) {
                   t.window_store<std::string, std::int64_t>(
                       StoreOptions{"mine"}.ttl(kTtl),
                       {.size = milliseconds{10}, .retention = milliseconds{10}});
                 }),
                 "window store 'mine': StoreOptions::ttl is for key-value stores"));
}

// Keeps what a table hands on.
class Mirroring final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void process(const Record<std::string, std::int64_t>& record, Context& context) override {
    auto rows = context.store<std::string, std::int64_t>("rows");
    if (record.has_value()) {
      rows.put(record.key(), record.value());
    } else {
      rows.erase(record.key());
    }
  }
};

// The tombstone of an expired key is in the changelog when the commit with it crashes: the start
// writes the key again as it was committed, and what is behind the table hears of the end of it.
BOOST_AUTO_TEST_CASE(a_key_that_expires_in_a_crashed_commit_is_handed_on_after_the_start) {
  for (const bool keep_disk : {true, false}) {
    Topology topology;
    topology.store<std::string, std::int64_t>("rows");
    topology.stream(numbers)
        .group_by_key()
        .count(StoreOptions{"counts"}.ttl(kTtl, TtlClock::kWallClock))
        .to_stream()
        .process<Mirroring>(connects("rows"));
    millrace::testing::TaskHarness task{topology};
    BOOST_REQUIRE(task.start().ok());
    task.append("numbers", "a", millrace::testing::i64(1));
    BOOST_REQUIRE(task.process(1).has_value());
    BOOST_REQUIRE(task.commit().ok());
    const std::size_t rows =
        task.graph->stores()[task.plan.stores[0].store].options.name() == "rows" ? 0 : 1;
    BOOST_TEST(task.live(rows).size() == 1U);
    task.clock.advance(kTtl * 2);
    BOOST_REQUIRE(task.task->prepare().has_value());
    task.crash(keep_disk);
    BOOST_REQUIRE(task.start().ok());
    BOOST_TEST(task.live(rows).size() == 1U);
    BOOST_REQUIRE(task.commit().ok());
    BOOST_TEST(task.live(0).empty());
    BOOST_TEST(task.live(1).empty());
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
