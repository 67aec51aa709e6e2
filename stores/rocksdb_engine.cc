// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb_engine.h"

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>

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
  RocksDbEngineFactory(const RocksDbBudget& budget, rocksdb::Env* env) : options_(budget, env) {}

  std::string_view name() const override { return "rocksdb"; }
  bool persistent() const override { return true; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    auto database = RocksDbDatabase::open(options, options_);
    if (!database) return database.error();
    return std::unique_ptr<Engine>{std::make_unique<RocksDbEngine>(*std::move(database))};
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

RocksDbEngine::RocksDbEngine(std::shared_ptr<RocksDbDatabase> database)
    : database_(std::move(database)) {}

Status RocksDbEngine::check(StoreIndex store) {
  if (database_ == nullptr) return Status::internal("the RocksDB engine is closed");
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
  if (database_ == nullptr) return Status::internal("the RocksDB engine is closed");
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
  rocksdb::Status written = write_checkpoint(*database_, checkpoint);
  // A full disk, now or in an earlier flush, leaves the database read-only until it is told to go
  // on.
  if (may_resume(written) && database_->db().Resume().ok()) {
    written = write_checkpoint(*database_, checkpoint);
  }
  if (!written.ok()) return to_status(written, "write a checkpoint", database_->directory());
  database_->set_checkpoint_number(database_->checkpoint_number() + 1);
  return {};
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
  if (auto status = check(Checkpoint{}); !status.ok()) return status;
  std::string bytes;
  const rocksdb::Status status =
      database_->db().Get({}, database_->positions(), kSourceOffsetsKey, &bytes);
  if (status.IsNotFound()) return std::map<std::string, std::int64_t>{};
  if (!status.ok()) return to_status(status, "read source offsets", database_->directory());
  return decode_source_offsets(bytes);
}

Status RocksDbEngine::clear(StoreIndex store) {
  // A store whose clearing failed half-way is no obstacle here: this is how it is finished.
  if (auto status = check(Checkpoint{}); !status.ok()) return status;
  if (store >= database_->store_count()) return check(store);
  rocksdb::Status cleared = database_->clear(store);
  if (may_resume(cleared) && database_->db().Resume().ok()) cleared = database_->clear(store);
  return to_status(cleared, "clear a store", database_->directory());
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

Status RocksDbEngine::close() {
  if (database_ == nullptr) return {};
  // Not needed for kill -9, but a power loss after a clean stop should not cost checkpoints.
  const rocksdb::Status synced = database_->db().SyncWAL();
  const Status status = to_status(synced, "sync the log", database_->directory());
  database_.reset();
  return status;
}

std::shared_ptr<EngineFactory> rocksdb_engines(const RocksDbBudget& budget, rocksdb::Env* env) {
  return std::make_shared<RocksDbEngineFactory>(budget, env);
}

namespace engines {

std::shared_ptr<EngineFactory> rocksdb(RocksDbBudget budget) {
  return rocksdb_engines(budget, rocksdb::Env::Default());
}

}  // namespace engines
}  // namespace millrace
