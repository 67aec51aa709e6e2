// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb_options.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "stores/rocksdb_chain.h"

namespace millrace {
namespace {

// Few shards: each must hold several filters, or they evict each other.
constexpr int kCacheShardBits = 2;
constexpr double kHighPriorityRatio = 0.3;
// A process may hold hundreds of memtables (tasks times stores), most of them nearly empty.
constexpr std::size_t kWriteBufferBytesMax = std::size_t{8} << 20;
constexpr std::size_t kArenaBlockBytes = std::size_t{64} << 10;
constexpr std::uint64_t kWalBytesMax = std::uint64_t{16} << 20;
constexpr std::size_t kManifestBytesMax = std::size_t{4} << 20;
constexpr std::size_t kPreallocationBytes = std::size_t{64} << 10;
constexpr std::uint64_t kFileBytes = std::uint64_t{32} << 20;
constexpr std::uint64_t kSyncBytes = std::uint64_t{1} << 20;
constexpr int kOpenFilesMax = 128;
constexpr double kBloomBitsPerKey = 10;
// The newest that RocksDB 7.8 reads; 9.10 would write 6, and a downgrade would find corruption.
constexpr std::uint32_t kTableFormat = 5;

// RocksDB would look for free space every five seconds on a thread of its own, and refuse
// `Resume()` meanwhile. The engine resumes when the caller tries again.
class NoAutomaticRecovery final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status /*error*/,
                            bool* automatic) override {
    *automatic = false;
  }
};

// RocksDB's own log is a file beside the data: on a full disk its second write runs into an
// assertion and ends the process. What matters comes back as a Status.
class NoLogFile final : public rocksdb::Logger {
 public:
  NoLogFile() : rocksdb::Logger(rocksdb::InfoLogLevel::FATAL_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, std::va_list /*arguments*/) override {}
};

rocksdb::DBOptions database_options(const RocksDbBudget& budget, rocksdb::Env* env) {
  rocksdb::DBOptions options;
  options.env = env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = true;
  // After a power loss the log of small checkpoints may end in a torn record: what precedes it is
  // an older checkpoint.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.max_total_wal_size = kWalBytesMax;
  options.max_manifest_file_size = kManifestBytesMax;
  options.manifest_preallocation_size = kPreallocationBytes;
  options.max_background_jobs = 2;
  options.max_open_files = kOpenFilesMax;
  options.bytes_per_sync = kSyncBytes;
  options.listeners.push_back(std::make_shared<NoAutomaticRecovery>());
  options.max_bgerror_resume_count = 0;
  options.skip_stats_update_on_db_open = true;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.info_log = std::make_shared<NoLogFile>();
  options.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(
      std::max<std::size_t>(budget.write_buffer_bytes, 1));
  return options;
}

rocksdb::BlockBasedTableOptions table_options(const RocksDbBudget& budget) {
  rocksdb::BlockBasedTableOptions options;
  options.format_version = kTableFormat;
  options.block_cache =
      rocksdb::NewLRUCache(budget.block_cache_bytes, kCacheShardBits, false, kHighPriorityRatio);
  // Index and filters count against the budget too. Whole, not partitioned: a get costs 3.3 us
  // instead of 4.2 (a million 8-byte keys), and files of kFileBytes keep a filter near 1 MiB.
  options.cache_index_and_filter_blocks = true;
  options.cache_index_and_filter_blocks_with_high_priority = true;
  options.pin_l0_filter_and_index_blocks_in_cache = true;
  options.pin_top_level_index_and_filter = true;
  options.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kBloomBitsPerKey));
  return options;
}

rocksdb::ColumnFamilyOptions store_options(const RocksDbBudget& budget) {
  rocksdb::ColumnFamilyOptions options;
  options.compression = rocksdb::kNoCompression;
  options.bottommost_compression = rocksdb::kDisableCompressionOption;
  options.write_buffer_size =
      std::clamp(budget.write_buffer_bytes / 4, kArenaBlockBytes, kWriteBufferBytesMax);
  options.arena_block_size = kArenaBlockBytes;
  options.compaction_style = rocksdb::kCompactionStyleLevel;
  options.level_compaction_dynamic_level_bytes = true;
  options.target_file_size_base = kFileBytes;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table_options(budget)));
  return options;
}

struct OwnedOption {
  std::string_view name;
  std::string_view why;
};

constexpr std::string_view kOrder = "engines keep keys in byte order";
constexpr std::string_view kContent = "an engine holds what it was given, no more and no less";
constexpr std::string_view kDurability =
    "checkpoints are durable as Millrace promises only with its own value";
constexpr std::string_view kPlace = "a task's files are in its own directory";
constexpr std::string_view kShared =
    "set rocksdb_write_buffer_bytes or rocksdb_block_cache_bytes, which all databases share";

constexpr std::array kOwnedByStores = std::to_array<OwnedOption>({
    {"comparator", kOrder},
    {"merge_operator", kContent},
    {"compaction_filter", kContent},
    {"compaction_filter_factory", kContent},
    {"ttl", kContent},
    {"compaction_options_fifo", kContent},
    {"cf_paths", kPlace},
});
constexpr std::array kOwnedByDatabases = std::to_array<OwnedOption>({
    {"create_if_missing", kDurability},
    {"create_missing_column_families", kDurability},
    {"error_if_exists", kDurability},
    {"paranoid_checks", kDurability},
    {"wal_recovery_mode", kDurability},
    {"manual_wal_flush", kDurability},
    {"unordered_write", kDurability},
    {"two_write_queues", kDurability},
    {"allow_2pc", kDurability},
    {"best_efforts_recovery", kDurability},
    {"max_bgerror_resume_count", kDurability},
    {"env", kPlace},
    {"wal_dir", kPlace},
    {"db_log_dir", kPlace},
    {"db_paths", kPlace},
    {"info_log", kPlace},
    {"listeners", kDurability},
    {"write_buffer_manager", kShared},
    {"db_write_buffer_size", kShared},
    {"row_cache", kShared},
});

Status bad_setting(const std::string& of, const std::string& option, const std::string& value,
                   std::string_view why) {
  return Status::invalid_argument(of + ": RocksDB option '" + option + "' = '" + value +
                                  "': " + std::string{why});
}

// Adds the settings one by one, so that a bad one is known by name.
template <class Options, std::size_t kCount, class Add>
Status add_settings(const std::string& of, const EngineSettings& settings,
                    const std::array<OwnedOption, kCount>& owned, Options& options,
                    const Add& add) {
  rocksdb::ConfigOptions config;
  config.ignore_unknown_options = false;
  config.input_strings_escaped = true;
  for (const auto& [option, value] : settings) {
    const auto* found = std::ranges::find(owned, option, &OwnedOption::name);
    if (found != owned.end()) {
      return bad_setting(of, option, value, "cannot be set: " + std::string{found->why});
    }
    Options changed;
    const std::unordered_map<std::string, std::string> one{{option, value}};
    const rocksdb::Status added = add(config, options, one, &changed);
    if (!added.ok()) {
      return bad_setting(of, option, value, "RocksDB does not take it, " + added.ToString());
    }
    options = changed;
  }
  return {};
}

}  // namespace

RocksDbOptions::RocksDbOptions(const RocksDbBudget& budget, rocksdb::Env* env,
                               const EngineSettings& database_settings)
    : database_(database_options(budget, env)), store_(store_options(budget)), positions_(store_) {
  positions_.merge_operator = checkpoint_count_operator();
  status_ = add_settings("settings rocksdb.*", database_settings, kOwnedByDatabases, database_,
                         [](const auto& config, const auto& base, const auto& map, auto* changed) {
                           return rocksdb::GetDBOptionsFromMap(config, base, map, changed);
                         });
}

Result<rocksdb::ColumnFamilyOptions> RocksDbOptions::store(const std::string& name,
                                                           const EngineSettings& settings) const {
  rocksdb::ColumnFamilyOptions options = store_;
  auto status =
      add_settings("store '" + name + "'", settings, kOwnedByStores, options,
                   [](const auto& config, const auto& base, const auto& map, auto* changed) {
                     return rocksdb::GetColumnFamilyOptionsFromMap(config, base, map, changed);
                   });
  if (!status.ok()) return status;
  return options;
}

}  // namespace millrace
