// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/status.h>

#include <cstddef>

#include "millrace/engine.h"
#include "stores/rocksdb_database.h"

namespace millrace {

/// From so many changes or bytes a checkpoint is ingested, below it is written as a batch. Both are
/// atomic and survive kill -9; an ingestion also survives a power loss, but syncs several files.
///
/// The crossing, 8-byte keys and 16-byte values into a store of a million, CPU of the process per
/// change with its compactions, batch against ingestion: 10,000 changes 3.6 / 5.4 us, 30,000 2.7
/// / 1.9 us, 100,000 1.7 / 0.9 us.
inline constexpr std::size_t kIngestChangesMin = 20'000;
inline constexpr std::size_t kIngestBytesMin = std::size_t{4} << 20;

/// Writes a checkpoint with its positions, source offsets and number, or nothing. Does not keep the
/// number.
rocksdb::Status write_checkpoint(RocksDbDatabase& database, const Checkpoint& checkpoint);

}  // namespace millrace
