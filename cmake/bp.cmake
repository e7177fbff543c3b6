# SPDX-License-Identifier: Apache-2.0
# How this project builds: warnings, sanitizers, and one function per kind of target.
#
#   bp_library(NAME folder_part SOURCES a.cc … DEPS bp_base …)   static library, position independent
#   bp_plugin(ID cpu SOURCES … DEPS … MANIFEST cpu.plugin.json.in)  libbackplane-<id>.so + manifest
#   bp_test(NAME x SOURCES x_test.cc … DEPS … [LABELS slow] [ENVIRONMENT VARIABLE=value …]
#           [THREADS *Stream*] [ADDRESS -*Mutants*])             GoogleTest program, one ctest entry
#
# THREADS names, as a filter of GoogleTest, the cases in which threads meet: ThreadSanitizer runs
# those and no other program. AddressSanitizer runs every case, or those that ADDRESS names.
#
# Labels: `threads` is what ThreadSanitizer runs. `drivers` compiles kernels for minutes with a
# software device's own compiler, and `slow` repeats at length; sanitizers run neither. `backends`
# runs models on a GPU backend, `hardware` skips where there is no card.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 99)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
find_program(BP_CCACHE ccache)
if(BP_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${BP_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${BP_CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(GTest REQUIRED)

set(BP_SANITIZE "" CACHE STRING "empty, address (with undefined) or thread")
add_library(bp_warnings INTERFACE)
target_compile_options(bp_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
# Statement expressions are what BP_TRY is made of; both supported compilers have them.
target_compile_options(bp_warnings INTERFACE
  $<$<CXX_COMPILER_ID:Clang>:-Wno-gnu-statement-expression>)
if(BP_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 loses track of what is initialised in code that it has instrumented itself.
  target_compile_options(bp_warnings INTERFACE -Wno-maybe-uninitialized)
endif()
# Reports need lines and functions, not types: -g1 objects are a quarter of -g ones and link faster.
if(BP_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=address,undefined)
elseif(BP_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=thread)
endif()

# Everything that the tests of a sanitizer's run need, so that it builds nothing else.
add_custom_target(bp_selected_tests)

# Where tests keep compiled kernels, so that no later run compiles them again, of this build or of
# another one of the same checkout: they are found by text, compiler and options.
set(BP_KERNEL_CACHE_DIR "${CMAKE_BINARY_DIR}/kernel-cache")
cmake_path(GET CMAKE_BINARY_DIR PARENT_PATH builds)
if(builds STREQUAL "${CMAKE_SOURCE_DIR}/build")
  set(BP_KERNEL_CACHE_DIR "${builds}/kernel-cache")
endif()
set(BP_MOCK_CACHE_DIR "${BP_KERNEL_CACHE_DIR}/mockgpu")
# What a plugin keeps over a stand-in driver stays with one build: the version of a stand-in's
# compiler does not say what it was built from. BP_MOCK_CACHE_DIR does, and spares most of the time.
function(bp_kernel_cache out backend)
  set(${out} "${BP_KERNEL_CACHE_DIR}/${backend}" PARENT_SCOPE)
  if(backend STREQUAL "cuda" OR backend STREQUAL "rocm")
    set(${out} "${CMAKE_BINARY_DIR}/mockgpu/cache/${backend}" PARENT_SCOPE)
  endif()
endfunction()

# Real inputs that may lie beside the checkout; tests skip with a word where they do not.
get_filename_component(BP_SHARED_DIR "${CMAKE_SOURCE_DIR}/../shared" ABSOLUTE)

function(bp_library)
  cmake_parse_arguments(A "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_library(${A_NAME} STATIC ${A_SOURCES})
  target_include_directories(${A_NAME} PUBLIC "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/sdk/include"
    "${CMAKE_SOURCE_DIR}/sdk/cpp")
  target_link_libraries(${A_NAME} PUBLIC ${A_DEPS} Threads::Threads PRIVATE bp_warnings)
endfunction()

# A plugin exports one symbol and links statically whatever it needs beyond the C library.
function(bp_plugin)
  cmake_parse_arguments(A "" "ID;MANIFEST" "SOURCES;DEPS" ${ARGN})
  set(target backplane-${A_ID})
  add_library(${target} MODULE ${A_SOURCES})
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}"
    "${CMAKE_SOURCE_DIR}/sdk/include" "${CMAKE_SOURCE_DIR}/sdk/cpp")
  target_link_libraries(${target} PRIVATE ${A_DEPS} Threads::Threads bp_warnings)
  set_target_properties(${target} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${BP_PLUGIN_DIR}"
    LINK_DEPENDS "${CMAKE_SOURCE_DIR}/cmake/plugin.map")
  target_link_options(${target} PRIVATE "-Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/plugin.map"
    "-Wl,--exclude-libs,ALL" "-Wl,-z,now")
  if(NOT BP_SANITIZE)
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc "-Wl,--no-undefined")
  endif()
  configure_file("${A_MANIFEST}" "${BP_PLUGIN_DIR}/${A_ID}.plugin.json" @ONLY)
  add_dependencies(bp_selected_tests ${target})
endfunction()

function(bp_test)
  cmake_parse_arguments(A "" "NAME;TIMEOUT;THREADS;ADDRESS" "SOURCES;DEPS;LABELS;ENVIRONMENT" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  add_executable(${A_NAME} ${A_SOURCES})
  target_include_directories(${A_NAME} PRIVATE "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/sdk/include"
    "${CMAKE_SOURCE_DIR}/sdk/cpp")
  target_link_libraries(${A_NAME} PRIVATE ${A_DEPS} GTest::gtest GTest::gmock GTest::gtest_main
    Threads::Threads bp_warnings)
  target_compile_definitions(${A_NAME} PRIVATE BP_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
    BP_BINARY_DIR="${CMAKE_BINARY_DIR}" BP_SHARED_DIR="${BP_SHARED_DIR}")
  set_target_properties(${A_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  set(cases "")
  set(selected TRUE)
  if(DEFINED A_THREADS)
    list(APPEND A_LABELS threads)
  endif()
  if(BP_SANITIZE)
    # Tests take longer to optimise, instrumented, than to run.
    target_compile_options(${A_NAME} PRIVATE -O0)
  endif()
  if(BP_SANITIZE STREQUAL "thread")
    set(cases "${A_THREADS}")
    if(NOT DEFINED A_THREADS)
      set(selected FALSE)
    endif()
  elseif(BP_SANITIZE STREQUAL "address")
    set(cases "${A_ADDRESS}")
    if(A_LABELS MATCHES "slow|drivers")
      set(selected FALSE)
    endif()
  endif()
  if(selected)
    add_dependencies(bp_selected_tests ${A_NAME})
  endif()
  if(cases)
    set(cases "--gtest_filter=${cases}")
  endif()
  add_test(NAME ${A_NAME} COMMAND ${A_NAME} ${cases} WORKING_DIRECTORY "${CMAKE_BINARY_DIR}")
  set_tests_properties(${A_NAME} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "${A_LABELS}"
    ENVIRONMENT "${A_ENVIRONMENT}")
endfunction()
