// SPDX-License-Identifier: Apache-2.0
//
// Copies of live engines.
#include <boost/test/unit_test.hpp>

#include "tests/stores/checkpoint_series.h"
#include "tests/stores/engine_kinds.h"

namespace millrace::testing {
namespace {

BOOST_AUTO_TEST_SUITE(engine_backup)

// KF-35: the copy opens as an engine with exactly what the checkpoint had, positions and source
// offsets included, while the engine goes on.
BOOST_AUTO_TEST_CASE(a_backup_of_a_live_engine_opens_with_exactly_its_last_checkpoint) {
  for (const EngineKind& kind : engine_kinds()) {
    if (kind.name != "rocksdb" && kind.name != "lmdb") continue;
    BOOST_TEST_CONTEXT("engine " << kind.name) {
      Subject subject{kind};
      const TemporaryDirectory temporary;
      for (std::int64_t number = 1; number <= 7; ++number) {
        BOOST_REQUIRE(CheckpointSeries::apply_to(subject.engine(), number).ok());
        const auto scan = must(subject.engine().scan(0, {}, {}));  // Somebody reads meanwhile.
        const auto directory = temporary.path() / std::to_string(number);
        std::filesystem::create_directory(directory);
        const auto status = subject.engine().backup(directory);
        BOOST_TEST(status.ok(), status.message());
      }
      BOOST_REQUIRE(CheckpointSeries::apply_to(subject.engine(), 8).ok());
      BOOST_TEST(must(CheckpointSeries::verified(subject.engine())) == 8);
      for (std::int64_t number = 1; number <= 7; ++number) {
        const auto factory = kind.make();
        const auto copy = must(factory->open(
            {temporary.path() / std::to_string(number), CheckpointSeries::store_names()}));
        BOOST_TEST(must(CheckpointSeries::verified(*copy)) == number);
        // It is an engine like others: it goes on.
        BOOST_TEST(CheckpointSeries::apply_to(*copy, number + 1).ok());
        BOOST_TEST(must(CheckpointSeries::verified(*copy)) == number + 1);
        BOOST_TEST(copy->close().ok());
      }
      BOOST_TEST(must(CheckpointSeries::verified(subject.engine())) == 8);
    }
  }
}

BOOST_AUTO_TEST_CASE(engines_that_have_no_files_say_that_they_cannot_be_backed_up) {
  for (const EngineKind& kind : engine_kinds()) {
    if (kind.name == "rocksdb" || kind.name == "lmdb") continue;
    Subject subject{kind};
    const TemporaryDirectory temporary;
    const auto status = subject.engine().backup(temporary.path());
    BOOST_TEST((status.code() == Code::kInvalidArgument));
    BOOST_TEST(status.message().find("changelog") != std::string::npos, status.message());
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
