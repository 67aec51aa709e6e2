# SPDX-License-Identifier: Apache-2.0
#
# Every third-party library Millrace itself links. Read by our own build and, through the installed
# package, by every consumer of a static libmillrace: keep both in step by keeping one list.

#
# The includer defines millrace_require(): find_package(REQUIRED) for us, find_dependency() for consumers.

millrace_require(Threads)
millrace_require(Boost 1.81 CONFIG)
millrace_require(CAF 0.17.6 MODULE)
millrace_require(RdKafka 2.0.2 MODULE)
# 7.8 or newer, but its package accepts its own major version only, so none is asked for.
millrace_require(RocksDB CONFIG)
millrace_require(prometheus-cpp CONFIG COMPONENTS core)
millrace_require(spdlog CONFIG)
millrace_require(xxHash MODULE)
# Optional engines; the package says which of them it was built with.
if(MILLRACE_WITH_LMDB)
  millrace_require(LMDB 0.9.24 MODULE)
endif()
if(MILLRACE_WITH_REDIS)
  millrace_require(Hiredis 0.14 MODULE)
endif()

# Only millrace/json.h, which a user includes by choice, needs it.
find_package(nlohmann_json CONFIG QUIET)
