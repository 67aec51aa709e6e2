// SPDX-License-Identifier: Apache-2.0
#include <rocksdb/convenience.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/options_util.h>

#include <boost/test/unit_test.hpp>

#include "stores/rocksdb_engine.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

BOOST_AUTO_TEST_SUITE(rocksdb_settings)

BOOST_AUTO_TEST_CASE(options_of_a_store_are_those_of_its_column_family_alone) {
  const TemporaryDirectory temporary;
  const auto factory = engines::rocksdb();
  const EngineSettings settings{{"compression", "kZSTD"}, {"max_write_buffer_number", "5"}};
  BOOST_TEST(factory->check_settings("orders", settings).ok());
  EngineOptions options{temporary.path(), {"accounts", "orders"}};
  options.store_settings["orders"] = settings;
  const auto engine = must(factory->open(options));
  BOOST_REQUIRE(apply(*engine, {{{"a", "1"}}, {{"b", "2"}}}, at(1)).ok());
  BOOST_REQUIRE(engine->close().ok());
  rocksdb::DBOptions database;
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  rocksdb::ConfigOptions config;
  config.ignore_unsupported_options = true;
  static_cast<void>(
      rocksdb::LoadLatestOptions(config, temporary.path().string(), &database, &families));
  std::map<std::string, int> numbers;
  for (const auto& family : families) numbers[family.name] = family.options.max_write_buffer_number;
  BOOST_TEST(numbers.at("orders") == 5);
  BOOST_TEST(numbers.at("accounts") == 2);
  // It is opened with other options as well: they are no format.
  const auto plain = must(factory->open({temporary.path(), {"accounts", "orders"}}));
  BOOST_TEST(must(plain->get(1, "b")).value_or("") == "2");
}

// The memory of the process stays one: options of tables change its block cache as little as its
// size.
BOOST_AUTO_TEST_CASE(options_of_tables_keep_the_shared_block_cache) {
  const RocksDbOptions options{{}, rocksdb::Env::Default()};
  const auto own = options.store("orders", {{"block_based_table_factory", "{block_size=16384}"}});
  BOOST_REQUIRE(own.has_value());
  const auto* tables = (*own).table_factory->GetOptions<rocksdb::BlockBasedTableOptions>();
  const auto* shared = options.store().table_factory->GetOptions<rocksdb::BlockBasedTableOptions>();
  BOOST_TEST(tables->block_size == 16384U);
  BOOST_TEST(shared->block_size == 4096U);
  BOOST_CHECK(tables->block_cache == shared->block_cache);
  BOOST_CHECK(tables->filter_policy != nullptr);
}

BOOST_AUTO_TEST_CASE(unknown_bad_and_owned_options_are_named_with_their_store) {
  const auto refused = [](const EngineSettings& of_store, const EngineSettings& of_database) {
    const auto status = engines::rocksdb({}, of_database)->check_settings("orders", of_store);
    BOOST_TEST((status.code() == Code::kInvalidArgument));
    return status.message();
  };
  const auto has = [](const std::string& text, const std::string& part) {
    BOOST_TEST(text.find(part) != std::string::npos, text);
  };
  auto text = refused({{"compresion", "kZSTD"}}, {});
  has(text, "store 'orders'");
  has(text, "'compresion'");
  text = refused({{"num_levels", "seven"}}, {});
  has(text, "'num_levels' = 'seven'");
  has(refused({{"comparator", "leveldb.BytewiseComparator"}}, {}), "byte order");
  has(refused({}, {{"wal_recovery_mode", "kSkipAnyCorruptedRecords"}}), "durable");
  has(refused({}, {{"max_open_fils", "12"}}), "'max_open_fils'");
  BOOST_TEST(engines::rocksdb({}, {{"max_open_files", "12"}})->check_settings("orders", {}).ok());
  has(engines::memory()->check_settings("orders", {{"compression", "kZSTD"}}).message(),
      "engine memory");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
