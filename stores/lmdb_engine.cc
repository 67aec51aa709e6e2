// SPDX-License-Identifier: Apache-2.0
#include "stores/lmdb_engine.h"

#include <utility>

#include "stores/engine_names.h"
#include "stores/lmdb_keys.h"
#include "stores/lmdb_scan.h"
#include "stores/lmdb_status.h"
#include "stores/position_record.h"

namespace millrace {
namespace {

class LmdbEngineFactory final : public EngineFactory {
 public:
  explicit LmdbEngineFactory(const LmdbOptions& options) : options_(options) {}

  std::string_view name() const override { return "lmdb"; }
  bool persistent() const override { return true; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    auto engine = std::make_unique<LmdbEngine>(options, options_);
    if (auto status = engine->open(); !status.ok()) return status;
    return std::unique_ptr<Engine>{std::move(engine)};
  }

 private:
  const LmdbOptions options_;
};

MDB_val borrowed(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }

int put_record(MDB_txn* transaction, MDB_dbi positions, std::string_view name,
               std::string_view bytes) {
  MDB_val key = borrowed(name);
  MDB_val value = borrowed(bytes);
  return ::mdb_put(transaction, positions, &key, &value, 0);
}

}  // namespace

LmdbEngine::LmdbEngine(EngineOptions options, const LmdbOptions& lmdb_options)
    : options_(std::move(options)), lmdb_options_(lmdb_options) {}

Status LmdbEngine::open() {
  auto environment = LmdbEnvironment::open(options_, lmdb_options_);
  if (!environment) return environment.error();
  environment_ = *std::move(environment);
  return {};
}

Status LmdbEngine::check_open() {
  if (closed_) return Status::internal("the LMDB engine is closed");
  if (environment_ != nullptr && environment_->is_broken()) {
    if (environment_.use_count() > 1) {
      return Status::unavailable("LMDB at '" + options_.directory.string() +
                                 "' has to be opened again after a failed write, but a scan is "
                                 "open");
    }
    environment_.reset();
  }
  return environment_ == nullptr ? open() : Status{};
}

Status LmdbEngine::check(StoreIndex store) {
  if (auto status = check_open(); !status.ok()) return status;
  if (store < options_.stores.size()) return {};
  return Status::invalid_argument("LMDB at '" + options_.directory.string() +
                                  "' has no store number " + std::to_string(store));
}

Status LmdbEngine::failed(int error, std::string_view action) const {
  return lmdb_status(error, action, options_.directory);
}

Result<std::optional<std::string>> LmdbEngine::get(StoreIndex store, std::string_view key) {
  std::optional<std::string> value;
  if (auto status = multi_get(store, {&key, 1}, {&value, 1}); !status.ok()) return status;
  return value;
}

Status LmdbEngine::multi_get(StoreIndex store, std::span<const std::string_view> keys,
                             std::span<std::optional<std::string>> values) {
  if (auto status = check(store); !status.ok()) return status;
  if (keys.size() != values.size()) {
    return Status::invalid_argument("multi_get needs one value per key");
  }
  const LmdbEnvironment::Read read{*environment_};
  int error = read.error();
  std::optional<std::string_view> found;
  for (std::size_t i = 0; error == 0 && i < keys.size(); ++i) {
    error = lmdb_find(read.transaction(), environment_->store(store), keys[i], found);
    if (!found) {
      values[i].reset();
    } else if (values[i]) {
      values[i]->assign(*found);
    } else {
      values[i].emplace(*found);
    }
  }
  return failed(error, "read keys");
}

Result<std::unique_ptr<EngineScan>> LmdbEngine::scan(StoreIndex store,
                                                     std::optional<std::string_view> from,
                                                     std::optional<std::string_view> to) {
  if (auto status = check(store); !status.ok()) return status;
  auto scan = std::make_unique<LmdbScan>(environment_);
  if (auto status = scan->start(store, from, to); !status.ok()) return status;
  return std::unique_ptr<EngineScan>{std::move(scan)};
}

Status LmdbEngine::apply(const Checkpoint& checkpoint) {
  if (auto status = check_open(); !status.ok()) return status;
  auto status = check_stores(checkpoint, options_, "LMDB at '" + options_.directory.string() + "'");
  if (!status.ok()) return status;
  return environment_->write("write a checkpoint", [&](MDB_txn* transaction) {
    int error = 0;
    for (const StoreCheckpoint& part : checkpoint.stores) {
      const MDB_dbi store = environment_->store(part.store);
      if (part.erase_below) error = lmdb_erase_below(transaction, store, *part.erase_below);
      if (error == 0) error = lmdb_change(transaction, store, part.changes);
      if (error == 0) {
        error = put_record(transaction, environment_->positions(), options_.stores[part.store],
                           encode_position(part.position));
      }
      if (error != 0) return error;
    }
    return put_record(transaction, environment_->positions(), kSourceOffsetsKey,
                      encode_source_offsets(checkpoint.source_offsets));
  });
}

Result<std::optional<std::string>> LmdbEngine::read_record(std::string_view name) {
  const LmdbEnvironment::Read read{*environment_};
  MDB_val key = borrowed(name);
  MDB_val value{};
  int error = read.error();
  if (error == 0) {
    error = ::mdb_get(read.transaction(), environment_->positions(), &key, &value);
  }
  if (error == MDB_NOTFOUND) return std::optional<std::string>{};
  if (error != 0) return failed(error, "read a position");
  return std::optional<std::string>{lmdb_bytes(value)};
}

Result<std::optional<EnginePosition>> LmdbEngine::position(StoreIndex store) {
  if (auto status = check(store); !status.ok()) return status;
  const auto bytes = read_record(options_.stores[store]);
  if (!bytes) return bytes.error();
  if (!*bytes) return std::optional<EnginePosition>{};
  const auto position = decode_position(**bytes);
  if (!position) return position.error();
  return std::optional<EnginePosition>{*position};
}

Result<std::map<std::string, std::int64_t>> LmdbEngine::source_offsets() {
  if (auto status = check_open(); !status.ok()) return status;
  const auto bytes = read_record(kSourceOffsetsKey);
  if (!bytes) return bytes.error();
  if (!*bytes) return std::map<std::string, std::int64_t>{};
  return decode_source_offsets(**bytes);
}

Status LmdbEngine::clear(StoreIndex store) {
  if (auto status = check(store); !status.ok()) return status;
  return environment_->write("clear a store", [&](MDB_txn* transaction) {
    const int error = ::mdb_drop(transaction, environment_->store(store), 0);
    if (error != 0) return error;
    MDB_val key = borrowed(options_.stores[store]);
    const int erased = ::mdb_del(transaction, environment_->positions(), &key, nullptr);
    return erased == MDB_NOTFOUND ? 0 : erased;
  });
}

EngineStatistics LmdbEngine::statistics(StoreIndex store) {
  if (!check(store).ok()) return {};
  const LmdbEnvironment::Read read{*environment_};
  if (read.error() != 0) return {};
  std::uint64_t used = 0;
  EngineStatistics result;
  for (StoreIndex index = 0; index < options_.stores.size(); ++index) {
    MDB_stat stat{};
    if (::mdb_stat(read.transaction(), environment_->store(index), &stat) != 0) return {};
    const std::uint64_t bytes =
        (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
    used += bytes;
    if (index == store) {
      result.entries_estimate = stat.ms_entries;  // A bucket of long keys counts as one.
      result.disk_bytes = bytes;
    }
  }
  // The file never shrinks. Each store gets an equal part of what is free in it, so that their sum
  // is right.
  const std::uint64_t file = environment_->file_bytes();
  if (file > used) result.disk_bytes += (file - used) / options_.stores.size();
  return result;
}

Status LmdbEngine::backup(const std::filesystem::path& directory) {
  if (auto status = check_open(); !status.ok()) return status;
  const int error = environment_->copy_to(directory);
  return failed(error, "copy the file to '" + directory.string() + "'");
}

Status LmdbEngine::close() {
  closed_ = true;
  if (environment_ == nullptr) return {};
  // Not needed for kill -9, but a power loss after a clean stop should not cost a checkpoint.
  const int error = environment_->sync();
  environment_.reset();
  return failed(error, "sync the file");
}

namespace engines {

std::shared_ptr<EngineFactory> lmdb(LmdbOptions options) {
  return std::make_shared<LmdbEngineFactory>(options);
}

}  // namespace engines
}  // namespace millrace
