# Language level, warnings, sanitizers and speed-ups of the build itself.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  find_program(CCACHE ccache)
  if(CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  endif()
  find_program(MOLD mold)
  if(MOLD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_link_options(-fuse-ld=mold)
  endif()
endif()
if(BALEEN_SANITIZE)
  add_compile_options(-fsanitize=${BALEEN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BALEEN_SANITIZE})
  add_compile_definitions(BALEEN_DCHECK=1)
endif()
if(BALEEN_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# For libraries of many small sources with large headers: some at a time, where the preset says so.
# Names in their unnamed namespaces are then one file's with its neighbours'.
function(baleen_compile_together name)
  set_target_properties(${name} PROPERTIES UNITY_BUILD ${BALEEN_UNITY} UNITY_BUILD_BATCH_SIZE 8)
endfunction()

# Every own target calls this: include root, warnings, no silent contraction of a*b+c (bits are a
# contract; fused multiply-adds are written out).
function(baleen_target name)
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_compile_options(${name} PRIVATE -ffp-contract=off -Wall -Wextra -Wnon-virtual-dtor
    # gcc 12 warns wrongly about string concatenation (its bug 105651)
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
    $<$<BOOL:${BALEEN_DEVELOPER_MODE}>:-Werror>)
endfunction()
