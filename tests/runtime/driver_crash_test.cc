// SPDX-License-Identifier: Apache-2.0
//
// Through the test driver, as users meet it: every kind of topology crashes after every step, with
// the disk kept and lost.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <boost/test/unit_test.hpp>

#include "millrace/test_driver.h"

namespace {

using namespace millrace;

const Topic<std::string, std::int64_t> numbers{"numbers"};
const Topic<std::string, std::int64_t> more{"more"};
const Topic<std::string, std::int64_t> out{"out"};

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

class Adding final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void start(Context& context) override {
    sums_.emplace(context.store<std::string, std::int64_t>("sums"));
  }
  void process(const Record<std::string, std::int64_t>& record, Context&) override {
    sums_->put(record.key(), sums_->get(record.key()).value_or(0) + record.value());
  }

 private:
  std::optional<KeyValueStore<std::string, std::int64_t>> sums_;
};

struct Kind {
  std::string name;
  std::function<void(Topology&)> build;
  std::string store;
  std::int64_t
      per_record;  // What the store holds of `a` per record of value 10; 0: the number of records.
};

std::vector<Kind> kinds() {
  const auto add = [](std::int64_t a, std::int64_t b) { return a + b; };
  return {
      {"count", [](Topology& t) { t.stream(numbers).group_by_key().count("counts"); }, "counts", 1},
      {"reduce", [=](Topology& t) { t.stream(numbers).group_by_key().reduce("sums", add); }, "sums",
       10},
      {"aggregate",
       [](Topology& t) {
         t.stream(numbers).group_by_key().aggregate<std::int64_t>(
             "sums", [](std::int64_t& sum, const auto& record) { sum += record.value(); });
       },
       "sums", 10},
      {"reducer with reactions",
       [](Topology& t) {
         t.stream(numbers).reduce<std::int64_t>(
             "sums",
             [](const auto& record, std::optional<std::int64_t> sum, auto& context) {
               context.react(out, record.key(), record.value());
               return sum.value_or(0) + record.value();
             },
             reacts_to(out));
       },
       "sums", 10},
      {"processor with store",
       [](Topology& t) {
         t.store<std::string, std::int64_t>("sums");
         t.stream(numbers).process<Adding>(connects("sums"));
       },
       "sums", 10},
      {"two stores",
       [=](Topology& t) {
         auto stream = t.stream(numbers);
         stream.group_by_key().count("counts");
         stream.group_by_key().reduce("sums", add);
       },
       "sums", 10},
      {"two input topics in one task",
       [](Topology& t) {
         t.store<std::string, std::int64_t>("sums");
         t.stream(numbers).process<Adding>(connects("sums"));
         t.stream(more).process<Adding>(connects("sums"));
       },
       "sums", 10},
      {"table written to a topic",
       [](Topology& t) { t.stream(numbers).group_by_key().count("counts").to_stream().to(out); },
       "counts", 1},
  };
}

constexpr std::array kSteps{Step::kProcess, Step::kProduce, Step::kFlush, Step::kCommit,
                            Step::kCheckpoint};

BOOST_AUTO_TEST_SUITE(driver_crash)

// KS-1, KS-5, KS-7, KF-6
BOOST_AUTO_TEST_CASE(every_topology_is_exact_after_a_crash_at_every_step) {
  for (const Kind& kind : kinds()) {
    for (const Step step : kSteps) {
      for (const bool disk : {false, true}) {
        for (const int first : {0, 2}) {  // 0: the crash hits the task's first records. B1
          for (const auto reset : {OffsetReset::kEarliest, OffsetReset::kLatest}) {
            // Opening RocksDB takes its time: fewer cases, one task.
            if (disk && (first == 0 || reset == OffsetReset::kLatest)) continue;
            const std::int32_t partitions = disk ? 1 : 2;
            BOOST_TEST_CONTEXT(kind.name << ", step " << static_cast<int>(step) << ", disk " << disk
                                         << ", " << first << " records before") {
              Directory directory;
              Topology topology;
              kind.build(topology);
              TestDriverOptions options;
              options.auto_offset_reset = reset;
              options.partitions = {{"numbers", partitions}, {"more", partitions}};
              if (disk) {
                options.engine = engines::rocksdb();
                options.state_dir = directory.path();
              }
              TestDriver driver{topology, options};
              auto input = driver.input(numbers);
              for (int i = 0; i < first; ++i) input.pipe("a", 10);
              if (first > 0) driver.checkpoint();
              driver.crash_after(step);
              input.pipe("a", 10);
              if (step == Step::kCheckpoint) driver.checkpoint();
              BOOST_REQUIRE(driver.crashed());
              input.pipe("a", 10);  // Comes while the application is down.
              if (first > 0) {      // A zombie's records, and a crash while they are healed.
                for (std::int32_t p = 0; p < partitions; ++p) {
                  driver.append("test-" + kind.store + "-changelog", p, "a", std::string(8, '\7'),
                                {});
                  driver.append("test-" + kind.store + "-changelog", p, "zombie",
                                std::string(8, '\7'), {});
                }
                const std::vector<Step> healing =
                    disk ? std::vector{Step::kProduce}
                         : std::vector{Step::kProduce, Step::kFlush, Step::kProduce, Step::kCommit};
                for (const Step again : healing) {
                  driver.crash_after(again);
                  driver.restart();
                  BOOST_REQUIRE(driver.crashed());
                }
              }
              driver.restart();
              BOOST_REQUIRE(!driver.crashed());
              input.pipe("a", 10);
              auto store = driver.store<std::string, std::int64_t>(kind.store);
              BOOST_TEST(store.all().size() == 1U);
              BOOST_TEST(store.get("a").value_or(-1) == (first + 3) * kind.per_record);
              driver.close();
              driver.restart();
              BOOST_TEST(store.get("a").value_or(-1) == (first + 3) * kind.per_record);
            }
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(lost_offsets_are_named_by_their_error_text) {
  Topology topology;
  topology.stream(numbers).group_by_key().count("counts");
  TestDriver driver{topology};
  driver.input(numbers).pipe("a", 1);
  driver.forget_committed_offsets();
  try {
    driver.restart();
    BOOST_ERROR("no failure");
  } catch (const Error& error) {
    BOOST_TEST(std::string{error.what()} ==
               CommittedOffsetsLostError("test-counts-changelog", 0, 1).what());
  }
  BOOST_TEST(driver.crashed());
}

BOOST_AUTO_TEST_CASE(a_foreign_write_fails_the_next_commit_and_a_restart_heals_it) {
  Topology topology;
  topology.stream(numbers).group_by_key().count("counts");
  TestDriver driver{topology};
  driver.input(numbers).pipe("a", 1);
  driver.append("test-counts-changelog", 0, "a", std::string(8, '\7'), {});
  BOOST_CHECK_THROW(driver.input(numbers).pipe("a", 1), StatusError);
  BOOST_TEST(driver.crashed());
  driver.restart();
  BOOST_TEST((*driver.store<std::string, std::int64_t>("counts").get("a") == 2));
}

BOOST_AUTO_TEST_CASE(a_task_of_too_many_stores_is_refused_with_the_reason) {
  Topology topology;
  auto stream = topology.stream(numbers);
  for (int i = 0; i < 200; ++i) stream.group_by_key().count("store-" + std::to_string(i));
  try {
    TestDriver driver{topology};
    BOOST_ERROR("no failure");
  } catch (const Error& error) {
    BOOST_TEST(error.code() == "invalid_argument");
    BOOST_TEST(std::string{error.what()}.find("200 stores") != std::string::npos);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
