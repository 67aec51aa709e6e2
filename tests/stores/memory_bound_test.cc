// SPDX-License-Identifier: Apache-2.0
//
// What all tasks of a process hold together.
#include <rocksdb/cache.h>
#if __has_include(<rocksdb/advanced_cache.h>)  // Where RocksDB 9 defines the cache.
#include <rocksdb/advanced_cache.h>
#endif
#include <rocksdb/table.h>
#include <rocksdb/write_buffer_manager.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "millrace/key_value_store.h"
#include "stores/rocksdb_engine.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

constexpr int kTasks = 100;
constexpr int kStores = 3;
constexpr int kRounds = 12;
constexpr int kPuts = 100;  // Per round and store.
constexpr std::size_t kValueBytes = 500;
constexpr std::size_t kBudgetBytes = std::size_t{16} << 20;  // Of each of the three.

// A task's engine and the caches of its stores.
struct StoresOfTask {
  std::unique_ptr<RocksDbEngine> engine;
  std::vector<std::unique_ptr<StateCache>> caches;

  void checkpoint(std::int64_t number) {
    std::vector<std::vector<EngineChange>> changes;
    std::vector<StoreCheckpoint> parts;
    for (auto& cache : caches) {
      static_cast<void>(cache->prepare());
      cache->committed();
      changes.push_back(cache->uncheckpointed());
    }
    for (StoreIndex i = 0; i < kStores; ++i) parts.push_back({i, changes[i], {1, number, {}}});
    BOOST_REQUIRE(engine->apply({parts, {}}).ok());
    for (auto& cache : caches) cache->checkpointed();
  }
  [[nodiscard]] bool wants_checkpoint() const {
    return std::ranges::any_of(caches, [](const auto& cache) { return cache->wants_checkpoint(); });
  }
};

BOOST_AUTO_TEST_SUITE(memory_bound)

// 100 tasks with 3 stores each write 180 MB under 16 MiB of block cache, of memtables and of state
// cache.
BOOST_AUTO_TEST_CASE(hundreds_of_stores_stay_within_the_budgets_of_the_process) {
  const RocksDbOptions options{{kBudgetBytes, kBudgetBytes}, rocksdb::Env::Default()};
  const auto& manager = *options.database().write_buffer_manager;
  const auto& blocks =
      *options.store().table_factory->GetOptions<rocksdb::BlockBasedTableOptions>()->block_cache;
  BOOST_TEST(manager.buffer_size() == kBudgetBytes);
  BOOST_TEST(blocks.GetCapacity() == kBudgetBytes);

  const TemporaryDirectory temporary;
  CacheBudget budget{kBudgetBytes};
  std::vector<StoresOfTask> tasks(kTasks);
  for (int t = 0; t < kTasks; ++t) {
    const auto directory = temporary.path() / std::to_string(t);
    std::filesystem::create_directory(directory);
    tasks[t].engine =
        std::make_unique<RocksDbEngine>(EngineOptions{directory, {"a", "b", "c"}}, options);
    BOOST_REQUIRE(tasks[t].engine->open().ok());
    for (StoreIndex s = 0; s < kStores; ++s) {
      tasks[t].caches.push_back(
          std::make_unique<StateCache>(*tasks[t].engine, s, value_ops<std::string>(), budget));
    }
  }

  std::mt19937_64 random{1};
  std::size_t memtables = 0;
  std::size_t block_cache = 0;
  std::size_t state_cache = 0;
  std::size_t written = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (auto& task : tasks) {
      for (auto& cache : task.caches) {
        KeyValueStore<std::string, std::string> store{*cache, [] { return Timestamp{}; }};
        for (int i = 0; i < kPuts; ++i) {
          store.put("key-" + std::to_string(random() % 5'000), std::string(kValueBytes, 'v'));
          static_cast<void>(
              store.get("key-" + std::to_string(random() % 5'000)));  // Fills the block cache.
          written += kValueBytes;
        }
        cache->trim();
      }
      if (task.wants_checkpoint() || round % 2 == 1) task.checkpoint(round + 1);
      for (auto& cache : task.caches) cache->trim();
      memtables = std::max(memtables, manager.memory_usage());
      block_cache = std::max(block_cache, blocks.GetUsage());
      // A task evicts its own entries only, each at its next tick (100 ms): until then what this
      // one has put may be too much.
      BOOST_REQUIRE(budget.bytes_used <=
                    kBudgetBytes + std::size_t{kStores} * kPuts * 2 * kValueBytes);
      for (auto& other : tasks) {
        for (auto& cache : other.caches) cache->trim();
      }
      state_cache = std::max(state_cache, budget.bytes_used.load());
    }
  }
  BOOST_TEST_MESSAGE("written " << written << ", memtables " << memtables << ", block cache "
                                << block_cache << ", state cache " << state_cache);
  BOOST_TEST(written > 10 * kBudgetBytes);
  BOOST_TEST(memtables <= kBudgetBytes);
  BOOST_TEST(block_cache <= kBudgetBytes);
  BOOST_TEST(state_cache <= kBudgetBytes);
  BOOST_TEST(memtables > kBudgetBytes / 4);  // It was worth measuring.
  BOOST_TEST(state_cache > kBudgetBytes / 2);
  tasks.clear();
  BOOST_TEST(budget.bytes_used == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
