# SPDX-License-Identifier: Apache-2.0
#
# Finds librdkafka (the C library), which Debian packages without a CMake configuration. Defines the
# imported target RdKafka::rdkafka and RdKafka_VERSION.

find_path(RdKafka_INCLUDE_DIR NAMES librdkafka/rdkafka.h)
find_library(RdKafka_LIBRARY NAMES rdkafka)

# RD_KAFKA_VERSION is 0xMMmmrrpp: major, minor, revision, pre-release.
if(RdKafka_INCLUDE_DIR AND EXISTS "${RdKafka_INCLUDE_DIR}/librdkafka/rdkafka.h")
  file(STRINGS "${RdKafka_INCLUDE_DIR}/librdkafka/rdkafka.h" rdkafka_version_line
    REGEX "#define RD_KAFKA_VERSION +0x[0-9a-fA-F]+")
  if(rdkafka_version_line MATCHES "(0x[0-9a-fA-F]+)")
    math(EXPR rdkafka_major "${CMAKE_MATCH_1} >> 24 & 255")
    math(EXPR rdkafka_minor "${CMAKE_MATCH_1} >> 16 & 255")
    math(EXPR rdkafka_patch "${CMAKE_MATCH_1} >> 8 & 255")
    set(RdKafka_VERSION "${rdkafka_major}.${rdkafka_minor}.${rdkafka_patch}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(RdKafka
  REQUIRED_VARS RdKafka_LIBRARY RdKafka_INCLUDE_DIR
  VERSION_VAR RdKafka_VERSION
  REASON_FAILURE_MESSAGE "on Debian: apt-get install librdkafka-dev")

if(RdKafka_FOUND AND NOT TARGET RdKafka::rdkafka)
  add_library(RdKafka::rdkafka UNKNOWN IMPORTED)
  set_target_properties(RdKafka::rdkafka PROPERTIES
    IMPORTED_LOCATION "${RdKafka_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${RdKafka_INCLUDE_DIR}")
endif()
mark_as_advanced(RdKafka_INCLUDE_DIR RdKafka_LIBRARY)
