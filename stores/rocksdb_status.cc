// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb_status.h"

#include <string>

namespace millrace {
namespace {

bool disk_full(const rocksdb::Status& status) {
  return status.IsNoSpace() || status.subcode() == rocksdb::Status::SubCode::kSpaceLimit;
}

// A held lock has no code of its own: 7.8 and 9.10 report an IOError with one of these two texts
// (another process; a second database object in this one).
bool locked(const rocksdb::Status& status) {
  const std::string text = status.ToString();
  return status.IsIOError() && (text.find("While lock file") != std::string::npos ||
                                text.find("lock hold by current process") != std::string::npos);
}

}  // namespace

Status to_status(const rocksdb::Status& status, std::string_view action,
                 const std::filesystem::path& directory) {
  if (status.ok()) return {};
  const std::string where =
      "cannot " + std::string{action} + " in RocksDB at '" + directory.string() + "': ";
  const std::string why = status.ToString();
  if (disk_full(status)) {
    return Status::unavailable(where + "disk full (" + why + "); free space or enlarge the volume");
  }
  if (locked(status)) {
    return Status::invalid_argument(where + "in use by another process (" + why + ")");
  }
  // Path not found: the manifest, or a table that the manifest names, has gone.
  if (status.IsCorruption() || status.IsPathNotFound()) {
    return Status::corruption(where + why + "; the state has to be rebuilt from its changelogs");
  }
  if (status.IsInvalidArgument()) return Status::invalid_argument(where + why);
  return Status::internal(where + why);
}

bool may_resume(const rocksdb::Status& status) {
  return disk_full(status) || (status.IsIOError() && !locked(status) && !status.IsPathNotFound());
}

}  // namespace millrace
