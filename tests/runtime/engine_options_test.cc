// SPDX-License-Identifier: Apache-2.0

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "millrace/millrace.h"

namespace millrace::testing {
namespace {

// What a user may write: a factory that looks at what it is asked for.
class RecordingFactory final : public EngineFactory {
 public:
  std::string_view name() const override { return "recording"; }
  bool persistent() const override { return false; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    opened.push_back(options);
    return engines::memory()->open(options);
  }
  std::vector<EngineOptions> opened;
};

BOOST_AUTO_TEST_SUITE(engine_options)

// KF-10: a user's provider works. Remote engines keep the state of many tasks and need to know
// whose.
BOOST_AUTO_TEST_CASE(an_engine_is_told_application_task_and_stores) {
  const Topic<std::string, std::string> input{"words"};
  const auto factory = std::make_shared<RecordingFactory>();
  Topology topology;
  topology.stream(input).group_by_key().count(StoreOptions{"counts"}.engine(factory));
  TestDriver driver{topology, {.application_id = "bank", .partitions = {{"words", 2}}}};
  driver.input(input).pipe("a", "1");
  BOOST_TEST((driver.store<std::string, std::int64_t>("counts").get("a") == 1));
  BOOST_REQUIRE(factory->opened.size() == 2U);
  for (std::size_t partition = 0; partition < 2; ++partition) {
    BOOST_TEST(factory->opened[partition].application_id == "bank");
    BOOST_TEST(factory->opened[partition].task_id == "0_" + std::to_string(partition));
    BOOST_TEST((factory->opened[partition].stores == std::vector<std::string>{"counts"}));
  }
}

// Both would have the directory 0_0/rocksdb.
BOOST_AUTO_TEST_CASE(two_engines_of_a_kind_in_one_task_are_refused_with_the_stores_names) {
  const Topic<std::string, std::string> input{"words"};
  const auto start = [&](const std::shared_ptr<EngineFactory>& first,
                         const std::shared_ptr<EngineFactory>& second) {
    Topology topology;
    auto stream = topology.stream(input);
    stream.group_by_key().count(StoreOptions{"first"}.engine(first));
    stream.group_by_key().count(StoreOptions{"second"}.engine(second));
    const auto folder =
        std::filesystem::temp_directory_path() / ("engines-" + std::to_string(::getpid()));
    TestDriverOptions options;
    options.engine = engines::rocksdb();
    options.state_dir = folder;
    TestDriver driver{topology, options};
    driver.input(input).pipe("a", "1");
    BOOST_TEST((driver.store<std::string, std::int64_t>("first").get("a") == 1));
    BOOST_TEST((driver.store<std::string, std::int64_t>("second").get("a") == 1));
    driver.close();
    std::filesystem::remove_all(folder);
  };
  const auto refused = [](const ConfigError& error) {
    const std::string what = error.what();
    return what.find("stores 'first' and 'second'") != std::string::npos &&
           what.find("engines 'rocksdb'") != std::string::npos;
  };
  const auto one = engines::rocksdb();
  BOOST_CHECK_EXCEPTION(start(one, engines::rocksdb()), ConfigError, refused);
  BOOST_CHECK_EXCEPTION(start(one, nullptr), ConfigError, refused);  // The configuration's.
  BOOST_CHECK_NO_THROW(start(one, one));
  BOOST_CHECK_NO_THROW(start(nullptr, nullptr));
}

BOOST_AUTO_TEST_CASE(engines_that_keep_nothing_may_be_of_one_kind_each_with_its_own_stores) {
  const Topic<std::string, std::string> input{"words"};
  const auto first = std::make_shared<RecordingFactory>();
  const auto second = std::make_shared<RecordingFactory>();
  Topology topology;
  auto stream = topology.stream(input);
  stream.group_by_key().count(StoreOptions{"first"}.engine(first));
  stream.group_by_key().count(StoreOptions{"second"}.engine(second));
  stream.group_by_key().count(StoreOptions{"third"}.engine(first));
  const TestDriver driver{topology};
  BOOST_REQUIRE(first->opened.size() == 1U);
  BOOST_TEST((first->opened[0].stores == std::vector<std::string>{"first", "third"}));
  BOOST_REQUIRE(second->opened.size() == 1U);
  BOOST_TEST((second->opened[0].stores == std::vector<std::string>{"second"}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
