// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb_checkpoint.h"

#include <rocksdb/convenience.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "stores/position_record.h"
#include "stores/rocksdb_chain.h"

namespace millrace {
namespace {

// What goes into the column family of the positions, ascending by key, as a table file needs it.
std::map<std::string, std::string> position_entries(const RocksDbDatabase& database,
                                                    const Checkpoint& checkpoint) {
  std::map<std::string, std::string> entries;
  for (const StoreCheckpoint& part : checkpoint.stores) {
    entries[database.store_name(part.store)] = encode_position(part.position);
  }
  entries[std::string{kSourceOffsetsKey}] = encode_source_offsets(checkpoint.source_offsets);
  entries[std::string{kCheckpointNumberKey}] =
      encode_checkpoint_number(database.checkpoint_number() + 1);
  entries[std::string{kCheckpointCountKey}] = encode_checkpoint_number(1);
  return entries;
}

bool erases(const StoreCheckpoint& part) { return part.erase_below && !part.erase_below->empty(); }

// Changes lie all over the memory: their bytes are asked for so many changes before they are due.
constexpr std::ptrdiff_t kPrefetchedChanges = 8;

void prefetch(const EngineChange& change) {
  __builtin_prefetch(change.key.data());
  if (change.value) __builtin_prefetch(change.value->data());
}

// Writes into one table file. RocksDB checks that the keys ascend.
class TableFile {
 public:
  TableFile(RocksDbDatabase& database, const rocksdb::ColumnFamilyOptions& options)
      : path_(database.ingest_directory()),
        // Not out of the page cache: readers and compaction come soon.
        writer_(environment_, {database.options().database(), options}, nullptr, false) {}

  rocksdb::Status open(std::size_t number) {
    path_ /= std::to_string(number) + ".sst";
    return writer_.Open(path_.string());
  }
  rocksdb::SstFileWriter& writer() { return writer_; }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
  rocksdb::EnvOptions environment_;
  rocksdb::SstFileWriter writer_;
};

// Collects the table files of one checkpoint, then hands them to RocksDB in one atomic step.
class Ingestion {
 public:
  explicit Ingestion(RocksDbDatabase& database) : database_(database) {}

  ~Ingestion() {
    // After success they have been moved; an error leaves nothing that a later attempt could trip
    // over.
    std::error_code ignored;
    for (const auto& ingested : files_) {
      for (const std::string& path : ingested.external_files) {
        std::filesystem::remove(path, ignored);
      }
    }
  }

  Ingestion(const Ingestion&) = delete;
  Ingestion& operator=(const Ingestion&) = delete;

  rocksdb::Status add(const StoreCheckpoint& part) {
    TableFile file{database_, database_.store_options(part.store)};
    rocksdb::Status status = begin(file, database_.store(part.store));
    // Within one file a range deletion and keys have one sequence number: the keys stay.
    if (status.ok() && erases(part)) status = file.writer().DeleteRange("", *part.erase_below);
    for (auto change = part.changes.begin(); status.ok() && change != part.changes.end();
         ++change) {
      if (part.changes.end() - change > kPrefetchedChanges) prefetch(change[kPrefetchedChanges]);
      status = change->value ? file.writer().Put(change->key, *change->value)
                             : file.writer().Delete(change->key);
    }
    return status.ok() ? file.writer().Finish() : status;
  }

  rocksdb::Status add_positions(const std::map<std::string, std::string>& entries) {
    TableFile file{database_, database_.options().positions()};
    rocksdb::Status status = begin(file, database_.positions());
    for (auto entry = entries.begin(); status.ok() && entry != entries.end(); ++entry) {
      status = entry->first == kCheckpointCountKey
                   ? file.writer().Merge(entry->first, entry->second)
                   : file.writer().Put(entry->first, entry->second);
    }
    return status.ok() ? file.writer().Finish() : status;
  }

  rocksdb::Status run() { return database_.db().IngestExternalFiles(files_); }

 private:
  rocksdb::Status begin(TableFile& file, rocksdb::ColumnFamilyHandle* family) {
    rocksdb::Status status = file.open(files_.size());
    rocksdb::IngestExternalFileArg ingested;
    ingested.column_family = family;
    ingested.external_files = {file.path()};
    ingested.options.move_files = true;
    // The file is new and synced: leave it as it is, the manifest knows its sequence number.
    ingested.options.write_global_seqno = false;
    files_.push_back(ingested);
    return status;
  }

  RocksDbDatabase& database_;
  std::vector<rocksdb::IngestExternalFileArg> files_;
};

rocksdb::Status write_batch(RocksDbDatabase& database, const Checkpoint& checkpoint) {
  rocksdb::WriteBatch batch;
  rocksdb::Status status;
  for (const StoreCheckpoint& part : checkpoint.stores) {
    rocksdb::ColumnFamilyHandle* const family = database.store(part.store);
    if (erases(part)) status = batch.DeleteRange(family, "", *part.erase_below);
    if (!status.ok()) return status;
    for (const EngineChange& change : part.changes) {
      status = change.value ? batch.Put(family, change.key, *change.value)
                            : batch.Delete(family, change.key);
      if (!status.ok()) return status;
    }
  }
  for (const auto& [key, value] : position_entries(database, checkpoint)) {
    status = key == kCheckpointCountKey ? batch.Merge(database.positions(), key, value)
                                        : batch.Put(database.positions(), key, value);
    if (!status.ok()) return status;
  }
  // Logged but not synced: the page cache survives the process, not the machine.
  return database.db().Write({}, &batch);
}

rocksdb::Status ingest(RocksDbDatabase& database, const Checkpoint& checkpoint) {
  // An ingestion is synced, the log is not: after a power loss this checkpoint would stand without
  // the smaller ones before it (durability.md, B11). In tables they are as safe as this one, and
  // out of reach of a damaged log.
  rocksdb::Status status = database.flush();
  Ingestion ingestion{database};
  for (const StoreCheckpoint& part : checkpoint.stores) {
    if (status.ok() && (!part.changes.empty() || erases(part))) status = ingestion.add(part);
  }
  if (status.ok()) status = ingestion.add_positions(position_entries(database, checkpoint));
  return status.ok() ? ingestion.run() : status;
}

// Tables of nothing but erased keys go at once; the deletion of the range would give their room
// back when compaction comes to them. An error leaves them to it.
void drop_erased_tables(RocksDbDatabase& database, const Checkpoint& checkpoint) {
  for (const StoreCheckpoint& part : checkpoint.stores) {
    if (!erases(part)) continue;
    const rocksdb::Slice below{*part.erase_below};
    rocksdb::DeleteFilesInRange(&database.db(), database.store(part.store), nullptr, &below, false)
        .PermitUncheckedError();
  }
}

bool large(const Checkpoint& checkpoint) {
  // A segment has expired: what was written since the last one did is flushed with this one, or the
  // log would keep it until its own bound, and tables reach over many segments.
  if (std::any_of(checkpoint.stores.begin(), checkpoint.stores.end(), erases)) return true;
  std::size_t changes = 0;
  std::size_t bytes = 0;
  for (const StoreCheckpoint& part : checkpoint.stores) changes += part.changes.size();
  if (changes >= kIngestChangesMin) return true;
  for (const StoreCheckpoint& part : checkpoint.stores) {
    for (const EngineChange& change : part.changes) {
      bytes += change.key.size() + (change.value ? change.value->size() : 0);
    }
  }
  return bytes >= kIngestBytesMin;
}

}  // namespace

rocksdb::Status write_checkpoint(RocksDbDatabase& database, const Checkpoint& checkpoint) {
  const rocksdb::Status status =
      large(checkpoint) ? ingest(database, checkpoint) : write_batch(database, checkpoint);
  if (status.ok()) drop_erased_tables(database, checkpoint);
  return status;
}

}  // namespace millrace
