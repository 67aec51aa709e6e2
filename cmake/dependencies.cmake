# SPDX-License-Identifier: Apache-2.0
#
# Every third-party library Millrace itself links. Read by our own build and, through the installed
# package, by every consumer of a static libmillrace: keep both in step by keeping one list.

include(CMakeFindDependencyMacro)

find_dependency(Threads)
find_dependency(Boost 1.81 CONFIG)
find_dependency(CAF 0.17.6 MODULE)
find_dependency(RdKafka 2.0.2 MODULE)
find_dependency(RocksDB 7.8 CONFIG)
find_dependency(prometheus-cpp CONFIG COMPONENTS core)
find_dependency(spdlog CONFIG)
find_dependency(xxHash MODULE)

# Only millrace/json.h, which a user includes by choice, needs it.
find_package(nlohmann_json CONFIG QUIET)
