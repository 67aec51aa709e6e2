# SPDX-License-Identifier: Apache-2.0
#
# millrace_build_flags: an interface target with the warnings and sanitizers of our own code. It is
# linked by everything built here and never installed, so consumers choose their own flags.

add_library(millrace_build_flags INTERFACE)
target_compile_options(millrace_build_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  $<$<BOOL:${MILLRACE_WERROR}>:-Werror>)

if(MILLRACE_SANITIZE STREQUAL "address")
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined)
elseif(MILLRACE_SANITIZE STREQUAL "thread")
  set(sanitizers -fsanitize=thread)
elseif(MILLRACE_SANITIZE)
  message(FATAL_ERROR "MILLRACE_SANITIZE is '${MILLRACE_SANITIZE}'; use address, thread or nothing")
endif()
if(MILLRACE_SANITIZE)
  target_compile_options(millrace_build_flags INTERFACE ${sanitizers} -fno-omit-frame-pointer)
  target_link_options(millrace_build_flags INTERFACE ${sanitizers})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's own advice: its flow warnings give false alarms on instrumented code.
    target_compile_options(millrace_build_flags INTERFACE -Wno-maybe-uninitialized -Wno-tsan)
  endif()
endif()
