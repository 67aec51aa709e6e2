# SPDX-License-Identifier: Apache-2.0
#
# `cmake --install`: the library, its public headers, and a package for find_package(millrace) that
# brings our find modules along, because a static libmillrace makes its consumers link them.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(millrace_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/millrace")

install(TARGETS millrace EXPORT millrace-targets ${millrace_header_sets})
install(EXPORT millrace-targets NAMESPACE millrace:: DESTINATION "${millrace_package_dir}")

configure_package_config_file(cmake/millrace-config.cmake.in millrace-config.cmake
  INSTALL_DESTINATION "${millrace_package_dir}")
write_basic_package_version_file(millrace-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/millrace-config.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/millrace-config-version.cmake"
  cmake/dependencies.cmake
  cmake/FindCAF.cmake
  cmake/FindHiredis.cmake
  cmake/FindLMDB.cmake
  cmake/FindRdKafka.cmake
  cmake/FindxxHash.cmake
  DESTINATION "${millrace_package_dir}")
