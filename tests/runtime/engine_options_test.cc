// SPDX-License-Identifier: Apache-2.0

#include <boost/test/unit_test.hpp>
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

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
