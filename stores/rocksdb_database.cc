// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb_database.h"

#include <rocksdb/write_batch.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "stores/engine_names.h"
#include "stores/position_record.h"
#include "stores/rocksdb_chain.h"
#include "stores/rocksdb_status.h"

namespace millrace {
namespace {

constexpr std::string_view kPositionsFamily = "millrace.positions";

// RocksDB's own first column family cannot be dropped, so it stays empty and a store of its name
// gets another one.
std::string family_name(const std::string& store) {
  if (store != rocksdb::kDefaultColumnFamilyName) return store;
  return std::string{kReservedPrefix} + store;
}

// A new database begins with this, then gets CURRENT, then anything else; it is gone when there is
// something in it.
constexpr std::string_view kFirstManifest = "MANIFEST-000001";

// Without CURRENT RocksDB would start an empty database and replay old logs into it. One that was
// being made when the process ended has none, and nothing to lose.
bool lost_current(const std::filesystem::path& directory) {
  std::error_code error;
  if (std::filesystem::exists(directory / "CURRENT", error)) return false;
  for (std::filesystem::directory_iterator entry{directory, error};
       !error && entry != std::filesystem::directory_iterator{}; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::string extension = entry->path().extension().string();
    if (name.starts_with("MANIFEST-") && name != kFirstManifest) return true;
    if (extension == ".sst" || extension == ".log") return true;
  }
  return false;
}

}  // namespace

RocksDbDatabase::RocksDbDatabase(const EngineOptions& options,
                                 const RocksDbOptions& rocksdb_options)
    : options_(rocksdb_options), directory_(options.directory) {
  for (const std::string& store : options.stores) names_.push_back(family_name(store));
}

RocksDbDatabase::~RocksDbDatabase() {
  for (const auto& [name, family] : families_) {
    if (family != nullptr) db_->DestroyColumnFamilyHandle(family);
  }
}

Result<std::shared_ptr<RocksDbDatabase>> RocksDbDatabase::open(
    const EngineOptions& options, const RocksDbOptions& rocksdb_options) {
  if (auto status = check_store_names(options); !status.ok()) return status;
  std::shared_ptr<RocksDbDatabase> database{new RocksDbDatabase(options, rocksdb_options)};
  if (auto status = database->read_settings(options); !status.ok()) return status;
  if (auto status = database->prepare_directory(); !status.ok()) return status;
  rocksdb::Status opened = database->open_database();
  if (!opened.ok()) return to_status(opened, "open the state", options.directory);
  if (auto status = database->verify_checkpoints(); !status.ok()) return status;
  opened = database->empty_half_cleared_stores();
  if (!opened.ok()) return to_status(opened, "empty a store", options.directory);
  return database;
}

Status RocksDbDatabase::read_settings(const EngineOptions& options) {
  if (!options_.status().ok()) return options_.status();
  for (const auto& [store, settings] : options.store_settings) {
    auto own = options_.store(store, settings);
    if (!own) return own.error();
    own_options_.emplace(family_name(store), *std::move(own));
  }
  return {};
}

const rocksdb::ColumnFamilyOptions& RocksDbDatabase::family_options(
    const std::string& family) const {
  if (family == kPositionsFamily) return options_.positions();
  const auto own = own_options_.find(family);
  return own == own_options_.end() ? options_.store() : own->second;
}

Status RocksDbDatabase::prepare_directory() const {
  if (lost_current(directory_)) {
    return Status::corruption("RocksDB at '" + directory_.string() +
                              "' has lost its file CURRENT; the state has to be rebuilt from its "
                              "changelogs");
  }
  std::error_code error;
  // A crash in the middle of an ingestion leaves its files.
  std::filesystem::remove_all(ingest_directory(), error);
  if (!error) std::filesystem::create_directories(ingest_directory(), error);
  if (!error) return {};
  if (error == std::errc::no_space_on_device) {
    return Status::unavailable("cannot create '" + ingest_directory().string() + "': disk full");
  }
  return Status::internal("cannot create '" + ingest_directory().string() +
                          "': " + error.message());
}

rocksdb::Status RocksDbDatabase::open_database() {
  std::vector<std::string> existing;
  std::error_code error;
  if (std::filesystem::exists(directory_ / "CURRENT", error)) {
    const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(
        rocksdb::DBOptions{options_.database()}, directory_.string(), &existing);
    if (!listed.ok()) return listed;
  }
  std::set<std::string> all{existing.begin(), existing.end()};
  all.insert(names_.begin(), names_.end());
  all.insert(rocksdb::kDefaultColumnFamilyName);
  all.insert(std::string{kPositionsFamily});

  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : all) {
    descriptors.emplace_back(name, family_options(name));
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::Open(options_.database(), directory_.string(), descriptors, &handles, &opened);
  if (!status.ok()) return status;
  db_.reset(opened);
  for (std::size_t i = 0; i < handles.size(); ++i) families_[descriptors[i].name] = handles[i];
  for (const std::string& name : names_) stores_.push_back(families_.at(name));
  positions_ = families_.find(kPositionsFamily)->second;
  return status;
}

Status RocksDbDatabase::verify_checkpoints() {
  std::string number;
  std::string count;
  for (const auto& [key, value] :
       {std::pair{kCheckpointNumberKey, &number}, std::pair{kCheckpointCountKey, &count}}) {
    const rocksdb::Status status = db_->Get({}, positions_, key, value);
    if (!status.ok() && !status.IsNotFound()) {
      return to_status(status, "read the positions", directory_);
    }
  }
  const auto verified = verified_checkpoint_number(number, count);
  if (!verified) {
    return Status::corruption("RocksDB at '" + directory_.string() +
                              "': " + verified.error().message());
  }
  checkpoint_number_ = *verified;
  return {};
}

rocksdb::Status RocksDbDatabase::empty_half_cleared_stores() {
  for (StoreIndex index = 0; index < names_.size(); ++index) {
    std::string position;
    const rocksdb::Status status = db_->Get({}, positions_, names_[index], &position);
    if (status.ok()) continue;
    if (!status.IsNotFound()) return status;
    const std::unique_ptr<rocksdb::Iterator> entries{db_->NewIterator({}, stores_[index])};
    entries->SeekToFirst();
    if (!entries->status().ok()) return entries->status();
    if (!entries->Valid()) continue;
    if (const rocksdb::Status emptied = recreate(index); !emptied.ok()) return emptied;
  }
  return {};
}

rocksdb::Status RocksDbDatabase::flush() {
  // The positions last. Should the log be lost half-way, entries newer than their position are
  // harmless: the changelog brings them again. A position newer than its entries would be wrong for
  // ever.
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  for (const auto& [name, family] : families_) {
    if (family != nullptr && family != positions_) families.push_back(family);
  }
  families.push_back(positions_);
  return db_->Flush({}, families);
}

rocksdb::Status RocksDbDatabase::clear(StoreIndex index) {
  rocksdb::WriteBatch batch;
  const std::uint64_t number = checkpoint_number_ + 1;
  rocksdb::Status status = batch.Delete(positions_, names_[index]);
  if (status.ok()) {
    status = batch.Put(positions_, kCheckpointNumberKey, encode_checkpoint_number(number));
  }
  if (status.ok())
    status = batch.Merge(positions_, kCheckpointCountKey, encode_checkpoint_number(1));
  if (status.ok()) status = db_->Write({}, &batch);
  if (!status.ok()) return status;
  checkpoint_number_ = number;
  // Dropping is synced. Were the log with the deletion lost after that, the old position would
  // stand over no entries.
  status = flush();
  return status.ok() ? recreate(index) : status;
}

rocksdb::Status RocksDbDatabase::recreate(StoreIndex index) {
  rocksdb::ColumnFamilyHandle*& family = families_.at(names_[index]);
  if (family != nullptr) {
    const rocksdb::Status dropped = db_->DropColumnFamily(family);
    if (!dropped.ok()) return dropped;
    db_->DestroyColumnFamilyHandle(family);
    family = nullptr;
    stores_[index] = nullptr;
  }
  const rocksdb::Status created =
      db_->CreateColumnFamily(store_options(index), names_[index], &family);
  if (created.ok()) stores_[index] = family;
  return created;
}

}  // namespace millrace
