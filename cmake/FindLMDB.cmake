# SPDX-License-Identifier: Apache-2.0
#
# Finds LMDB, which ships no CMake configuration. Defines the imported target LMDB::lmdb and
# LMDB_VERSION.

find_path(LMDB_INCLUDE_DIR NAMES lmdb.h)
find_library(LMDB_LIBRARY NAMES lmdb)

if(LMDB_INCLUDE_DIR AND EXISTS "${LMDB_INCLUDE_DIR}/lmdb.h")
  set(LMDB_VERSION "")
  foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${LMDB_INCLUDE_DIR}/lmdb.h" lmdb_line REGEX "#define MDB_VERSION_${part}[ \t]+[0-9]+")
    if(lmdb_line MATCHES "MDB_VERSION_${part}[ \t]+([0-9]+)")
      list(APPEND LMDB_VERSION "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  list(JOIN LMDB_VERSION "." LMDB_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LMDB
  REQUIRED_VARS LMDB_LIBRARY LMDB_INCLUDE_DIR
  VERSION_VAR LMDB_VERSION
  REASON_FAILURE_MESSAGE "on Debian: apt-get install liblmdb-dev, or set MILLRACE_WITH_LMDB=OFF")

if(LMDB_FOUND AND NOT TARGET LMDB::lmdb)
  add_library(LMDB::lmdb UNKNOWN IMPORTED)
  set_target_properties(LMDB::lmdb PROPERTIES
    IMPORTED_LOCATION "${LMDB_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${LMDB_INCLUDE_DIR}")
endif()
mark_as_advanced(LMDB_INCLUDE_DIR LMDB_LIBRARY)
