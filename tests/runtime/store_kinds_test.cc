// SPDX-License-Identifier: Apache-2.0
//
// Window, session and versioned stores through the test driver: what reaches the changelogs, and
// what is there after crashes at every step, with the disk kept and lost.
#include <cstdlib>
#include <filesystem>
#include <map>

#include <boost/test/unit_test.hpp>

#include "millrace/test_driver.h"

namespace {

using namespace millrace;
using std::chrono::milliseconds;

const Topic<std::string, std::int64_t> numbers{"numbers"};

constexpr milliseconds kRetention{300'000};  // Segments of 150,000.
constexpr milliseconds kGap{100};

// Counts per window of 10, per session of a gap of 100, and keeps the value as of each time.
class Keeping final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void start(Context& context) override {
    counts_.emplace(context.window_store<std::string, std::int64_t>("windows"));
    sessions_.emplace(context.session_store<std::string, std::int64_t>("sessions"));
    versions_.emplace(context.versioned_store<std::string, std::int64_t>("versions"));
    all_.emplace(context.window_store<std::string, std::int64_t>("duplicates"));
  }
  void process(const Record<std::string, std::int64_t>& record, Context&) override {
    const std::string& key = record.key();
    const Timestamp time = record.timestamp();
    const Timestamp start{time.time_since_epoch() / 10 * 10};
    counts_->put(key, counts_->get(key, start).value_or(0) + 1, start);

    SessionWindow window{time, time};
    std::int64_t count = 1;
    std::vector<SessionWindow> merged;
    for (const auto& session : sessions_->find_sessions(key, time - kGap, time + kGap)) {
      window = {std::min(window.start, session.window.start),
                std::max(window.end, session.window.end)};
      count += session.value;
      merged.push_back(session.window);
    }
    for (const auto& session : merged) sessions_->remove(key, session);
    sessions_->put(key, window, count);

    if (record.value() < 0) {
      versions_->erase(key, time);
    } else {
      versions_->put(key, record.value(), time);
    }
    all_->put(key, record.value(), start);
  }

 private:
  std::optional<WindowStore<std::string, std::int64_t>> counts_;
  std::optional<SessionStore<std::string, std::int64_t>> sessions_;
  std::optional<VersionedStore<std::string, std::int64_t>> versions_;
  std::optional<WindowStore<std::string, std::int64_t>> all_;
};

void build(Topology& topology) {
  topology.window_store<std::string, std::int64_t>(
      "windows", {.size = milliseconds{10}, .retention = kRetention});
  topology.window_store<std::string, std::int64_t>(
      "duplicates", {.size = milliseconds{10}, .retention = kRetention, .duplicates = true});
  topology.session_store<std::string, std::int64_t>("sessions", {.retention = kRetention});
  topology.versioned_store<std::string, std::int64_t>("versions",
                                                      {.history_retention = kRetention});
  topology.stream(numbers).process<Keeping>(
      connects("windows", "sessions", "versions", "duplicates"));
}

struct Input {
  std::string key;
  std::int64_t value;
  std::int64_t time;
};

// Sessions merge, versions come late, one record is far enough ahead to expire segments.
const std::vector<Input> kInputs{
    {"a", 1, 1000},    {"a", 2, 1150},    {"ab", 3, 1005},     {"a", -1, 1060},
    {"a", 4, 1500},    {"b", 5, 200'000}, {"a", 6, 200'001},   {"a", 7, 1490},
    {"b", 8, 450'000}, {"a", 9, 449'000}, {"ab", -1, 451'000}, {"a", 10, 451'005},
};

// What the stores show, as text.
std::string shown(TestDriver& driver) {
  std::string text;
  const auto add = [&text](auto... parts) { ((text += std::to_string(parts) + ' '), ...); };
  for (const char* name : {"windows", "duplicates"}) {
    for (const auto& entry : driver.window_store<std::string, std::int64_t>(name).all()) {
      text += std::string{name} + ' ' + entry.key + ' ';
      add(to_millis(entry.window_start), entry.value, to_millis(entry.timestamp));
    }
  }
  for (const auto& entry : driver.session_store<std::string, std::int64_t>("sessions").all()) {
    text += "sessions " + entry.key + ' ';
    add(to_millis(entry.window.start), to_millis(entry.window.end), entry.value);
  }
  auto versions = driver.versioned_store<std::string, std::int64_t>("versions");
  for (const std::string key : {"a", "ab", "b", "zombie"}) {
    for (const std::int64_t time : {1000, 1059, 1060, 1150, 1495, 1500, 151'005, 200'001, 449'000,
                                    450'000, 451'000, 451'004, 451'005}) {
      const auto found = versions.get_as_of(key, from_millis(time));
      text += "version " + key + ' ' + std::to_string(time) + ' ' +
              (found ? std::to_string(found->value) : "-") + '\n';
    }
  }
  return text;
}

class Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-driver-XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string big_endian(std::int64_t number, std::size_t bytes = 8) {
  std::string text;
  for (std::size_t i = bytes; i-- > 0;) {
    text += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i) & 0xffU);
  }
  return text;
}

// A zombie overwrites keys and adds some of its own to every changelog.
void write_as_zombie(TestDriver& driver) {
  const std::string value = big_endian(777);
  for (const std::string key : {"a", "zombie"}) {
    const std::string window = key + big_endian(1000) + big_endian(0, 4);
    driver.append("test-windows-changelog", 0, window, value, from_millis(1000));
    driver.append("test-duplicates-changelog", 0, key + big_endian(1000) + big_endian(1, 4), value,
                  from_millis(1000));
    driver.append("test-sessions-changelog", 0, key + big_endian(1150) + big_endian(1000), value,
                  from_millis(1150));
    // A zombie processes the same records. A version at a time that the task itself never puts
    // would end what is put before it later: the value in effect then is all that healing can tell.
    for (const std::int64_t time : {900, 1000}) {
      driver.append("test-versions-changelog", 0, key, value, from_millis(time));
    }
  }
  driver.append("test-windows-changelog", 0, "too short", value, from_millis(1));
}

constexpr std::array kSteps{Step::kProcess, Step::kProduce, Step::kFlush, Step::kCommit,
                            Step::kCheckpoint};

BOOST_AUTO_TEST_SUITE(store_kinds)

// KF-2, KF-6, KF-29, KF-31, KS-1: the same stores as without a crash, for each step, engine and
// record.
BOOST_AUTO_TEST_CASE(stores_of_all_kinds_are_exact_after_a_crash_at_every_step) {
  std::vector<std::string> expected;
  {
    Topology topology;
    build(topology);
    TestDriver driver{topology};
    for (const auto& input : kInputs) {
      driver.input(numbers).pipe(input.key, input.value, from_millis(input.time));
      expected.push_back(shown(driver));
    }
  }
  for (const Step step : kSteps) {
    for (const bool disk : {false, true}) {
      for (std::size_t at = 0; at < kInputs.size(); at += disk ? 3 : 1) {
        for (const bool zombie : {false, true}) {
          BOOST_TEST_CONTEXT("step " << static_cast<int>(step) << ", disk " << disk << ", record "
                                     << at << ", zombie " << zombie) {
            Directory directory;
            Topology topology;
            build(topology);
            TestDriverOptions options;
            if (disk) {
              options.engine = engines::rocksdb();
              options.state_dir = directory.path();
            }
            TestDriver driver{topology, options};
            for (std::size_t i = 0; i < kInputs.size(); ++i) {
              if (i == at) driver.crash_after(step, i % 3);
              const auto& input = kInputs[i];
              driver.input(numbers).pipe(input.key, input.value, from_millis(input.time));
              if (i % 2 == 0 || i == at) driver.checkpoint();
              if (i == at) {
                BOOST_REQUIRE(driver.crashed());
                if (zombie) write_as_zombie(driver);
                driver.restart();
                BOOST_REQUIRE(!driver.crashed());
              }
              BOOST_REQUIRE(shown(driver) == expected[i]);
            }
            driver.close();
            driver.restart();
            BOOST_TEST(shown(driver) == expected.back());
          }
        }
      }
    }
  }
}

// Bytes of reference section 2.3, as Kafka Streams' recorded topics have them.
BOOST_AUTO_TEST_CASE(changelogs_are_those_of_kafka_streams) {
  Topology topology;
  build(topology);
  TestDriver driver{topology};
  auto input = driver.input(numbers);
  input.pipe("k1", 1, from_millis(1000));
  input.pipe("k1", 2, from_millis(1050));
  input.pipe("k1", -1, from_millis(1025));
  const auto written = [&driver](const std::string& store) {
    std::vector<std::tuple<std::string, std::optional<std::string>, std::int64_t>> records;
    for (const auto& record : driver.records("test-" + store + "-changelog")) {
      records.emplace_back(*record.key, record.value, to_millis(record.timestamp));
    }
    return records;
  };
  using Records = decltype(written(""));
  const std::string k = "k1";
  const auto number = [](std::int64_t value) { return std::optional{big_endian(value)}; };
  BOOST_TEST(
      (written("windows") == Records{{k + big_endian(1000) + big_endian(0, 4), number(1), 1000},
                                     {k + big_endian(1050) + big_endian(0, 4), number(1), 1050},
                                     {k + big_endian(1020) + big_endian(0, 4), number(1), 1025}}));
  BOOST_TEST((written("duplicates") ==
              Records{{k + big_endian(1000) + big_endian(1, 4), number(1), 1000},
                      {k + big_endian(1050) + big_endian(2, 4), number(2), 1050},
                      {k + big_endian(1020) + big_endian(3, 4), number(-1), 1025}}));
  BOOST_TEST(
      (written("sessions") == Records{{k + big_endian(1000) + big_endian(1000), number(1), 1000},
                                      {k + big_endian(1000) + big_endian(1000), std::nullopt, 1050},
                                      {k + big_endian(1050) + big_endian(1000), number(2), 1050},
                                      {k + big_endian(1050) + big_endian(1000), number(3), 1025}}));
  BOOST_TEST((written("versions") ==
              Records{{k, number(1), 1000}, {k, number(2), 1050}, {k, std::nullopt, 1025}}));
}

// The recorded case bytes/table-versioned.
BOOST_AUTO_TEST_CASE(out_of_order_versions_are_logged_as_they_come) {
  Topology topology;
  build(topology);
  TestDriver driver{topology};
  auto input = driver.input(numbers);
  for (const std::int64_t time : {1000, 3000, 2000}) input.pipe("k", time, from_millis(time));
  std::vector<std::int64_t> times;
  for (const auto& record : driver.records("test-versions-changelog")) {
    times.push_back(to_millis(record.timestamp));
    BOOST_TEST((record.value == big_endian(times.back())));
  }
  BOOST_TEST((times == std::vector<std::int64_t>{1000, 3000, 2000}));
  auto versions = driver.versioned_store<std::string, std::int64_t>("versions");
  BOOST_TEST(versions.get("k")->value == 3000);
  BOOST_TEST(versions.get_as_of("k", from_millis(2500))->value == 2000);
}

// KF-12
BOOST_AUTO_TEST_CASE(missing_or_short_times_are_topology_errors_that_name_store_and_field) {
  const auto error_of = [](const auto& add) {
    Topology topology;
    try {
      add(topology);
      return std::string{"none"};
    } catch (const TopologyError& error) {
      return std::string{error.what()};
    }
  };
  const auto window = [&](WindowStoreOptions options) {
    return error_of(
        [&](Topology& t) { t.window_store<std::string, std::int64_t>("mine", options); });
  };
  const auto names = [](const std::string& message, const std::string& what) {
    return message.find("'mine'") != std::string::npos && message.find(what) != std::string::npos;
  };
  BOOST_TEST(names(window({}), "size is 0 ms"));
  BOOST_TEST(names(window({.size = milliseconds{10}}), "retention is 0 ms"));
  BOOST_TEST(names(window({.retention = milliseconds{10}}), "size is 0 ms"));
  BOOST_TEST(
      names(window({.size = milliseconds{-1}, .retention = milliseconds{10}}), "size is -1 ms"));
  BOOST_TEST(names(window({.size = milliseconds{11}, .retention = milliseconds{10}}), "shorter"));
  BOOST_TEST(window({.size = milliseconds{10}, .retention = milliseconds{10}}) == "none");
  BOOST_TEST(
      names(error_of([](Topology& t) { t.session_store<std::string, std::int64_t>("mine", {}); }),
            "retention is 0 ms"));
  BOOST_TEST(
      names(error_of([](Topology& t) { t.versioned_store<std::string, std::int64_t>("mine", {}); }),
            "history_retention is -1 ms"));
  BOOST_TEST(names(error_of([](Topology& t) {
                     t.session_store<std::string, std::int64_t>("mine",
                                                                {.retention = milliseconds::max()});
                   }),
                   "required"));
}

// KF-8
BOOST_AUTO_TEST_CASE(stores_of_another_kind_or_type_are_refused) {
  Topology topology;
  build(topology);
  TestDriver driver{topology};
  BOOST_CHECK_THROW(static_cast<void>(driver.store<std::string, std::int64_t>("windows")),
                    StoreTypeError);
  BOOST_CHECK_THROW(static_cast<void>(driver.session_store<std::string, std::int64_t>("windows")),
                    StoreTypeError);
  BOOST_CHECK_THROW(static_cast<void>(driver.window_store<std::string, std::int64_t>("versions")),
                    StoreTypeError);
  BOOST_CHECK_THROW(
      static_cast<void>(driver.versioned_store<std::string, std::int64_t>("sessions")),
      StoreTypeError);
  BOOST_CHECK_THROW(static_cast<void>(driver.window_store<std::string, std::string>("windows")),
                    StoreTypeError);
  BOOST_CHECK_THROW(
      static_cast<void>(driver.versioned_store<std::int64_t, std::int64_t>("versions")),
      StoreTypeError);
  BOOST_CHECK_THROW(static_cast<void>(driver.window_store<std::string, std::int64_t>("none")),
                    UnknownStoreError);
}

// KF-32
BOOST_AUTO_TEST_CASE(expired_puts_are_dropped_and_counted) {
  Topology topology;
  build(topology);
  TestDriver driver{topology};
  auto input = driver.input(numbers);
  input.pipe("a", 1, from_millis(1'000'000));
  const auto before = driver.records("test-windows-changelog").size();
  input.pipe("a", 2, from_millis(1'000'000 - kRetention.count() - 10));
  BOOST_TEST(driver.records("test-windows-changelog").size() == before);
  BOOST_TEST((driver.window_store<std::string, std::int64_t>("windows").all().size() == 1U));
  // In the window store, that of duplicates, the session store and the versioned one.
  BOOST_TEST(driver.metrics_text().find(
                 "millrace_records_dropped_total{reason=\"expired\",task=\"0_0\"} 4") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
