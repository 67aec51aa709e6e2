# SPDX-License-Identifier: Apache-2.0
#
# Finds hiredis (the C client of Redis), which some versions ship without a CMake configuration.
# Defines the imported target Hiredis::hiredis and Hiredis_VERSION.

find_path(Hiredis_INCLUDE_DIR NAMES hiredis/hiredis.h)
find_library(Hiredis_LIBRARY NAMES hiredis)

if(Hiredis_INCLUDE_DIR AND EXISTS "${Hiredis_INCLUDE_DIR}/hiredis/hiredis.h")
  set(Hiredis_VERSION "")
  foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${Hiredis_INCLUDE_DIR}/hiredis/hiredis.h" hiredis_line
      REGEX "#define HIREDIS_${part} +[0-9]+")
    if(hiredis_line MATCHES "HIREDIS_${part} +([0-9]+)")
      list(APPEND Hiredis_VERSION "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  list(JOIN Hiredis_VERSION "." Hiredis_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Hiredis
  REQUIRED_VARS Hiredis_LIBRARY Hiredis_INCLUDE_DIR
  VERSION_VAR Hiredis_VERSION
  REASON_FAILURE_MESSAGE "on Debian: apt-get install libhiredis-dev, or set MILLRACE_WITH_REDIS=OFF")

if(Hiredis_FOUND AND NOT TARGET Hiredis::hiredis)
  add_library(Hiredis::hiredis UNKNOWN IMPORTED)
  set_target_properties(Hiredis::hiredis PROPERTIES
    IMPORTED_LOCATION "${Hiredis_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${Hiredis_INCLUDE_DIR}")
endif()
mark_as_advanced(Hiredis_INCLUDE_DIR Hiredis_LIBRARY)
