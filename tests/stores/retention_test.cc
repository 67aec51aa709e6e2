// SPDX-License-Identifier: Apache-2.0
//
// A window store in steady state: what expires gives back its room, on the disk and in memory.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <random>
#include <vector>

#include "millrace/window_store.h"
#include "stores/rocksdb_engine.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

std::uint64_t bytes_on_disk(const std::filesystem::path& directory) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator{directory}) {
    std::error_code gone;  // Deleted meanwhile by RocksDB.
    const auto size = entry.file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

constexpr int kPutsPerMinute = 1000;
constexpr std::size_t kValueBytes = 500;
// What is live, plus a segment that expires, plus what RocksDB has not compacted yet.
constexpr std::uint64_t kDiskBytesMax = 4 * 60 * kPutsPerMinute * kValueBytes;
constexpr std::uint64_t kMemoryBytesMax = std::uint64_t{18} << 20;

BOOST_AUTO_TEST_SUITE(retention)

BOOST_AUTO_TEST_CASE(windows_kept_an_hour_need_the_room_of_about_an_hour_all_day) {
  const TemporaryDirectory directory;
  const auto factory =
      engines::rocksdb({.block_cache_bytes = 8 << 20, .write_buffer_bytes = 8 << 20});
  auto engine = must(factory->open({directory.path(), {"store"}}));
  CacheBudget budget{8 << 20};
  StateCache cache{*engine, 0, value_ops<std::string>(), budget,
                   KeyLayout::window(minutes{1}, hours{1}, false)};
  WindowStore<std::string, std::string> store{cache, [] { return from_millis(0); }};
  std::mt19937_64 random{7};
  std::vector<std::uint64_t> disk;
  std::vector<std::uint64_t> memory;
  const Timestamp begin = from_millis(1'700'000'000'000);
  std::int64_t position = 0;
  for (Timestamp now = begin; now < begin + hours{12}; now += minutes{1}) {
    for (int i = 0; i < kPutsPerMinute; ++i) {
      store.put("key-" + std::to_string(random() % 2000), std::string(kValueBytes, 'v'), now);
    }
    static_cast<void>(cache.prepare());
    cache.committed();
    const auto changes = cache.uncheckpointed();
    const StoreCheckpoint part{0, changes, at(++position), cache.erase_below()};
    BOOST_REQUIRE(engine->apply({{&part, 1}, {}}).ok());
    cache.checkpointed();
    cache.trim();
    if (now < begin + hours{3} || (now - begin) % hours{1} != minutes{0}) continue;
    disk.push_back(bytes_on_disk(directory.path()));
    memory.push_back(cache.figures().bytes + engine->statistics(0).memory_bytes);
  }
  BOOST_TEST(*std::max_element(disk.begin(), disk.end()) <= kDiskBytesMax);
  BOOST_TEST(*std::max_element(memory.begin(), memory.end()) <= kMemoryBytesMax);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing
