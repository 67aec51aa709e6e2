// SPDX-License-Identifier: Apache-2.0
#include "stores/lmdb_status.h"

#include <lmdb.h>

#include <cerrno>
#include <string>

namespace millrace {

Status lmdb_status(int error, std::string_view action, const std::filesystem::path& directory) {
  if (error == MDB_SUCCESS) return {};
  const std::string what =
      "cannot " + std::string{action} + " in LMDB at '" + directory.string() + "': ";
  const std::string why = ::mdb_strerror(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return Status::unavailable(what + "disk full (" + why +
                                 "); free space or enlarge the volume");
    case ENOMEM:
      return Status::unavailable(what + "no memory, or no room for the map in the address space");
    case MDB_MAP_FULL:
      return Status::unavailable(what + "the file is full");
    case MDB_READERS_FULL:
      return Status::unavailable(what + "all readers are taken; close scans, or raise " +
                                 "LmdbOptions::scans_max");
    case MDB_PANIC:
      return Status::unavailable(what + "an earlier write failed; it is opened again");
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
      return Status::corruption(what + why + "; the state has to be rebuilt from its changelogs");
    case MDB_BAD_VALSIZE:
      return Status::invalid_argument(what + "a name or value has a size that LMDB does not take");
    default:
      return Status::internal(what + why);
  }
}

bool lmdb_must_reopen(int error) { return error == MDB_PANIC; }

}  // namespace millrace
