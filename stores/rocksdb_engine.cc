// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb_engine.h"

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "stores/position_record.h"
#include "stores/rocksdb_checkpoint.h"
#include "stores/rocksdb_options.h"
#include "stores/rocksdb_status.h"

namespace millrace {
namespace {

// Bounds the blocks that one lookup pins.
constexpr std::size_t kKeysPerLookup = 1024;

class RocksDbScan final : public EngineScan {
 public:
  RocksDbScan(std::shared_ptr<RocksDbDatabase> database, StoreIndex store,
              std::optional<std::string_view> from, std::optional<std::string_view> to)
      : database_(std::move(database)) {
    rocksdb::ReadOptions options;
    if (to) {
      // RocksDB's bound is exclusive; this is the key that follows `to`.
      bound_ = std::string{*to} + '\0';
      bound_slice_ = bound_;
      options.iterate_upper_bound = &bound_slice_;
    }
    entries_.reset(database_->db().NewIterator(options, database_->store(store)));
    if (from) {
      entries_->Seek(*from);
    } else {
      entries_->SeekToFirst();
    }
  }

  bool valid() const override { return entries_->Valid(); }
  void next() override { entries_->Next(); }
  std::string_view key() const override { return entries_->key().ToStringView(); }
  std::string_view value() const override { return entries_->value().ToStringView(); }
  Status status() const override {
    return to_status(entries_->status(), "scan a store", database_->directory());
  }

 private:
  std::shared_ptr<RocksDbDatabase> database_;
  std::string bound_;
  rocksdb::Slice bound_slice_;
  std::unique_ptr<rocksdb::Iterator> entries_;
};

class RocksDbEngineFactory final : public EngineFactory {
 public:
  RocksDbEngineFactory(const RocksDbBudget& budget, rocksdb::Env* env,
                       const EngineSettings& settings)
      : options_(budget, env, settings) {}

  std::string_view name() const override { return "rocksdb"; }
  bool persistent() const override { return true; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    auto engine = std::make_unique<RocksDbEngine>(options, options_);
    if (auto status = engine->open(); !status.ok()) return status;
    return std::unique_ptr<Engine>{std::move(engine)};
  }
  Status check_settings(const std::string& store, const EngineSettings& settings) override {
    if (!options_.status().ok()) return options_.status();
    const auto options = options_.store(store, settings);
    return options ? Status{} : options.error();
  }

 private:
  const RocksDbOptions options_;
};

std::uint64_t property(RocksDbDatabase& database, StoreIndex store, const std::string& name) {
  std::uint64_t value = 0;
  return database.db().GetIntProperty(database.store(store), name, &value) ? value : 0;
}

std::uint64_t log_bytes(const std::filesystem::path& directory) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry{directory, error};
       !error && entry != std::filesystem::directory_iterator{}; entry.increment(error)) {
    if (entry->path().extension() != ".log") continue;
    std::error_code gone;  // Deleted meanwhile by RocksDB: not a reason to stop.
    const std::uintmax_t size = entry->file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

}  // namespace

RocksDbEngine::RocksDbEngine(EngineOptions options, RocksDbOptions rocksdb_options)
    : options_(std::move(options)), rocksdb_options_(std::move(rocksdb_options)) {}

Status RocksDbEngine::open() {
  auto database = RocksDbDatabase::open(options_, rocksdb_options_);
  if (!database) return database.error();
  database_ = *std::move(database);
  return {};
}

Status RocksDbEngine::check_open() {
  if (closed_) return Status::internal("the RocksDB engine is closed");
  return database_ == nullptr ? open() : Status{};
}

Status RocksDbEngine::check(StoreIndex store) {
  if (auto status = check_open(); !status.ok()) return status;
  if (store >= database_->store_count()) {
    return Status::invalid_argument("RocksDB at '" + database_->directory().string() +
                                    "' has no store number " + std::to_string(store));
  }
  if (database_->store(store) != nullptr) return {};
  return Status::unavailable("store '" + database_->store_name(store) + "' in RocksDB at '" +
                             database_->directory().string() +
                             "' could not be cleared; clear it again");
}

Result<std::optional<std::string>> RocksDbEngine::get(StoreIndex store, std::string_view key) {
  if (auto status = check(store); !status.ok()) return status;
  std::optional<std::string> value{std::in_place};
  const rocksdb::Status status = database_->db().Get({}, database_->store(store), key, &*value);
  if (status.IsNotFound()) return std::optional<std::string>{};
  if (!status.ok()) return to_status(status, "read a key", database_->directory());
  return value;
}

Status RocksDbEngine::multi_get(StoreIndex store, std::span<const std::string_view> keys,
                                std::span<std::optional<std::string>> values) {
  if (auto status = check(store); !status.ok()) return status;
  if (keys.size() != values.size()) {
    return Status::invalid_argument("multi_get needs one value per key");
  }
  Status result;
  for (std::size_t begin = 0; begin < keys.size(); begin += kKeysPerLookup) {
    const std::size_t count = std::min(kKeysPerLookup, keys.size() - begin);
    const auto part = keys.subspan(begin, count);
    keys_.assign(part.begin(), part.end());
    if (values_.size() < count) values_.resize(count);
    statuses_.assign(count, rocksdb::Status::OK());
    database_->db().MultiGet({}, database_->store(store), count, keys_.data(), values_.data(),
                             statuses_.data(), /*sorted_input=*/false);
    for (std::size_t i = 0; i < count; ++i) {
      std::optional<std::string>& value = values[begin + i];
      if (statuses_[i].ok()) {
        const std::string_view found = values_[i].ToStringView();
        if (value) {
          value->assign(found);
        } else {
          value.emplace(found);
        }
      } else {
        value.reset();
        if (!statuses_[i].IsNotFound() && result.ok()) {
          result = to_status(statuses_[i], "read keys", database_->directory());
        }
      }
      values_[i].Reset();
    }
  }
  return result;
}

Result<std::unique_ptr<EngineScan>> RocksDbEngine::scan(StoreIndex store,
                                                        std::optional<std::string_view> from,
                                                        std::optional<std::string_view> to) {
  if (auto status = check(store); !status.ok()) return status;
  auto scan = std::make_unique<RocksDbScan>(database_, store, from, to);
  if (auto status = scan->status(); !status.ok()) return status;
  return std::unique_ptr<EngineScan>{std::move(scan)};
}

Status RocksDbEngine::check(const Checkpoint& checkpoint) {
  if (auto status = check_open(); !status.ok()) return status;
  std::vector<bool> seen(database_->store_count());
  for (const StoreCheckpoint& part : checkpoint.stores) {
    if (auto status = check(part.store); !status.ok()) return status;
    if (seen[part.store]) {
      return Status::invalid_argument("a checkpoint names store '" +
                                      database_->store_name(part.store) + "' twice");
    }
    seen[part.store] = true;
  }
  return {};
}

Status RocksDbEngine::apply(const Checkpoint& checkpoint) {
  if (auto status = check(checkpoint); !status.ok()) return status;
  const Status status = write("write a checkpoint", [this, &checkpoint] {
    return write_checkpoint(*database_, checkpoint);
  });
  if (!status.ok()) return status;
  database_->set_checkpoint_number(database_->checkpoint_number() + 1);
  // RocksDB flushes behind our back, when it comes to it; many tasks together would be far beyond
  // the budget by then.
  const auto& memory = *rocksdb_options_.database().write_buffer_manager;
  if (memory.memory_usage() <= memory.buffer_size()) return status;
  // The checkpoint stands in any case; what is wrong with the disk, the next one meets.
  static_cast<void>(
      write("flush to keep the memory budget", [this] { return database_->flush(); }));
  return status;
}

template <class Write>
Status RocksDbEngine::write(std::string_view action, Write&& attempt) {
  if (write_failed_) {
    if (auto status = leave_failure(); !status.ok()) return status;
  }
  rocksdb::Status written = attempt();
  write_failed_ = may_resume(written);
  // The error may be an old one, of a flush in the background.
  if (write_failed_ && leave_failure().ok()) {
    written = attempt();
    write_failed_ = may_resume(written);
  }
  return to_status(written, action, options_.directory);
}

// RocksDB takes no writes after a failed one until it is resumed. And 7.8 is not the same
// afterwards: a flag that it forgets to clear makes an ingestion run into an assertion, and a flush
// return before it is done. So resuming tells whether the disk takes writes again, then the
// database is opened anew. Until then it can be read.
Status RocksDbEngine::leave_failure() {
  if (database_.use_count() > 1) {
    return Status::unavailable("RocksDB at '" + options_.directory.string() +
                               "' has to be opened again after a failed write, but a scan is open");
  }
  const rocksdb::Status resumed = database_->db().Resume();
  if (!resumed.ok()) return to_status(resumed, "resume writing", options_.directory);
  database_.reset();
  const Status opened = open();
  write_failed_ = !opened.ok();
  return opened;
}

Result<std::optional<EnginePosition>> RocksDbEngine::position(StoreIndex store) {
  if (auto status = check(store); !status.ok()) return status;
  std::string bytes;
  const rocksdb::Status status =
      database_->db().Get({}, database_->positions(), database_->store_name(store), &bytes);
  if (status.IsNotFound()) return std::optional<EnginePosition>{};
  if (!status.ok()) return to_status(status, "read a position", database_->directory());
  const auto position = decode_position(bytes);
  if (!position) return position.error();
  return std::optional<EnginePosition>{*position};
}

Result<std::map<std::string, std::int64_t>> RocksDbEngine::source_offsets() {
  if (auto status = check_open(); !status.ok()) return status;
  std::string bytes;
  const rocksdb::Status status =
      database_->db().Get({}, database_->positions(), kSourceOffsetsKey, &bytes);
  if (status.IsNotFound()) return std::map<std::string, std::int64_t>{};
  if (!status.ok()) return to_status(status, "read source offsets", database_->directory());
  return decode_source_offsets(bytes);
}

Status RocksDbEngine::clear(StoreIndex store) {
  if (auto status = check_open(); !status.ok()) return status;
  // A store whose clearing failed half-way is no obstacle here: this is how it is finished.
  if (store >= database_->store_count()) return check(store);
  return write("clear a store", [this, store] { return database_->clear(store); });
}

EngineStatistics RocksDbEngine::statistics(StoreIndex store) {
  if (!check(store).ok()) return {};
  using Properties = rocksdb::DB::Properties;
  // The stores share one log; each gets an equal part, so that their sum is right.
  const std::uint64_t logs = log_bytes(database_->directory()) / database_->store_count();
  return {.entries_estimate = property(*database_, store, Properties::kEstimateNumKeys),
          .disk_bytes = property(*database_, store, Properties::kTotalSstFilesSize) + logs,
          .memory_bytes = property(*database_, store, Properties::kSizeAllMemTables)};
}

Status RocksDbEngine::backup(const std::filesystem::path& directory) {
  if (auto status = check_open(); !status.ok()) return status;
  std::error_code error;
  const Status status = write("make a backup of the state", [&] {
    // RocksDB makes the directory itself, under another name at first: half a backup is never
    // found.
    std::filesystem::remove(directory, error);
    rocksdb::Checkpoint* made = nullptr;
    const rocksdb::Status created = rocksdb::Checkpoint::Create(&database_->db(), &made);
    const std::unique_ptr<rocksdb::Checkpoint> checkpoint{made};
    return created.ok() ? checkpoint->CreateCheckpoint(directory.string()) : created;
  });
  if (!status.ok()) return status;
  std::filesystem::permissions(directory, std::filesystem::perms::owner_all, error);
  if (!error) return {};
  return Status::internal("cannot set the mode of '" + directory.string() +
                          "': " + error.message());
}

Status RocksDbEngine::close() {
  closed_ = true;
  if (database_ == nullptr) return {};
  // Not needed for kill -9, but a power loss after a clean stop should not cost checkpoints.
  // Syncing a log that could not be written runs into an assertion of RocksDB 7.8.
  const rocksdb::Status synced = write_failed_ ? rocksdb::Status::OK() : database_->db().SyncWAL();
  database_.reset();
  return to_status(synced, "sync the log", options_.directory);
}

std::shared_ptr<EngineFactory> rocksdb_engines(const RocksDbBudget& budget, rocksdb::Env* env,
                                               const EngineSettings& database_settings) {
  return std::make_shared<RocksDbEngineFactory>(budget, env, database_settings);
}

namespace engines {

std::shared_ptr<EngineFactory> rocksdb(RocksDbBudget budget, EngineSettings database_settings) {
  return rocksdb_engines(budget, rocksdb::Env::Default(), database_settings);
}

}  // namespace engines
}  // namespace millrace
