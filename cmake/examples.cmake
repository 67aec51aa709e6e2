# SPDX-License-Identifier: Apache-2.0
#
# Every folder of examples/ that holds sources is one program, build/examples/<folder>. It links the
# library as a user would: public headers only, no look at the source root.

file(GLOB example_sources CONFIGURE_DEPENDS examples/*/*.cc)
set(example_folders)
foreach(source IN LISTS example_sources)
  cmake_path(GET source PARENT_PATH folder)
  list(APPEND example_folders "${folder}")
endforeach()
list(REMOVE_DUPLICATES example_folders)
set(millrace_examples)

foreach(folder IN LISTS example_folders)
  cmake_path(GET folder FILENAME name)
  set(sources ${example_sources})
  list(FILTER sources INCLUDE REGEX "/examples/${name}/[^/]+$")
  list(APPEND millrace_examples ${name})
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE millrace::millrace millrace_build_flags)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
endforeach()

# The demo is a program with options; the numbered examples take the environment only.
if(TARGET demo)
  target_link_libraries(demo PRIVATE CLI11::CLI11)
endif()
