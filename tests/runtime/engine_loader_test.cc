// SPDX-License-Identifier: Apache-2.0
//
// What a restore makes of changelog records (KF-25, KF-27), against a plain map.
#include "runtime/engine_loader.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <random>
#include <string>

#include "tests/stores/engine_model.h"
#include "tests/support/seed.h"

namespace millrace::testing {
namespace {

void load_at_random(std::uint64_t seed) {
  std::mt19937_64 random{seed};
  // RocksDB refuses the table of a large batch in which a key comes twice.
  const TemporaryDirectory directory;
  const auto engine = must(engines::rocksdb()->open({directory.path(), {"store"}}));
  const TaskEngines::Place place{engine.get(), 0, "rocksdb"};
  const KeyLayout layout;
  EngineLoader loader{place, layout};
  BOOST_REQUIRE(loader.open().ok());
  std::map<std::string, std::string> model;
  for (std::int64_t offset = 0; offset < 3'000; ++offset) {
    const std::string key = "key-" + std::to_string(random() % 1'000);
    const std::string value(random() % 20'000, static_cast<char>('a' + random() % 26));
    LogRecord record{offset, key, value, from_millis(offset)};
    if (random() % 5 == 0) record.value.reset();
    if (random() % 50 == 0) record.key.reset();
    BOOST_REQUIRE(loader.add({&record, 1}) == (record.key ? 1U : 0U));
    std::string in_engine;
    if (record.key && layout.engine_value(record.value, record.timestamp, in_engine)) {
      model[key] = in_engine;
    } else if (record.key) {
      model.erase(key);
    }
    if (random() % 500 == 0) BOOST_REQUIRE(loader.write({1, offset + 1, {}}).ok());
  }
  BOOST_REQUIRE(loader.write({1, 3'000, {}}).ok());
  std::map<std::string, std::string> loaded;
  const auto scan = must(engine->scan(0, std::nullopt, std::nullopt));
  for (; scan->valid(); scan->next()) loaded[std::string{scan->key()}] = scan->value();
  BOOST_TEST((loaded == model));
  BOOST_TEST((*must(engine->position(0))).next_offset == 3'000);
}

BOOST_AUTO_TEST_SUITE(engine_loader)

BOOST_AUTO_TEST_CASE(the_last_record_of_each_key_counts_whatever_sizes_its_values_had) {
  for_seeds("engine_loader", 3, load_at_random);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
