# The functions that make every target of the project, so that all of them get the same language,
# warnings, visibility and sanitizers. The layers themselves are listed in the top CMakeLists.txt.

# Sets what all of our own code is compiled with on TARGET.
function(polyrank_add_target target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(
    ${target}
    PROPERTIES CXX_EXTENSIONS OFF
               CXX_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON
               POSITION_INDEPENDENT_CODE OFF
               EXPORT_COMPILE_COMMANDS ON)
  target_include_directories(
    ${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cpp>"
                     "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wsign-conversion
                                           -Wnon-virtual-dtor -Woverloaded-virtual)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # At -O3, g++ 12 sees the inline places of PyTorch's SmallVector read before they are written.
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
  if(POLYRANK_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  # Spelled out, because CMake's property gives -fPIE to programs: they could then not share the
  # libraries' precompiled headers.
  target_compile_options(${target} PRIVATE -fPIC)
  # Relative paths in debug information and in messages: nobody's home folder ends up in a library,
  # and ccache can share results between clones.
  target_compile_options(${target} PRIVATE "-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.")
  polyrank_sanitize(${target})
endfunction()

# Applies POLYRANK_SANITIZE to TARGET.
function(polyrank_sanitize target)
  if(POLYRANK_SANITIZE STREQUAL "")
    return()
  elseif(POLYRANK_SANITIZE STREQUAL "asan")
    # vptr is left out: it needs type information that libtorch hides.
    set(flags -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined)
  elseif(POLYRANK_SANITIZE STREQUAL "tsan")
    set(flags -fsanitize=thread)
  else()
    message(FATAL_ERROR "POLYRANK_SANITIZE is \"${POLYRANK_SANITIZE}\"; it can be empty, asan or tsan")
  endif()
  target_compile_options(${target} PRIVATE ${flags} -fno-omit-frame-pointer)
  target_link_options(${target} PRIVATE ${flags})
endfunction()

# Sets OUT to the target's name of a layer: `polyrank_world_fake` of `world/fake`.
function(polyrank_layer_target layer out)
  string(REPLACE "/" "_" target "polyrank_${layer}")
  set(${out} ${target} PARENT_SCOPE)
endfunction()

# polyrank_add_layer(NAME [TORCH] USES lower-layer... [TESTS_USE layer...])
#
# Makes the OBJECT library `polyrank_NAME` of cpp/polyrank/NAME/*.cc. Only a layer marked TORCH gets
# PyTorch's include path, so a wrong include in another does not compile; scripts/check_layers.py
# checks the arrows between layers. A folder without sources is skipped.
function(polyrank_add_layer name)
  cmake_parse_arguments(layer "TORCH" "" "USES;TESTS_USE" ${ARGN})
  polyrank_layer_target(${name} target)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/cpp/polyrank/${name}/*.cc")
  if(NOT sources)
    message(STATUS "polyrank: layer ${name} has no sources yet")
    return()
  endif()
  add_library(${target} OBJECT ${sources})
  polyrank_add_target(${target})
  if(layer_TORCH)
    target_link_libraries(${target} PUBLIC Libtorch::Libtorch)
    polyrank_use_torch_pch(${target})
  endif()
  target_link_libraries(${target} PUBLIC Threads::Threads)
  set_property(GLOBAL APPEND PROPERTY POLYRANK_LAYERS ${name})
  set_property(TARGET ${target} PROPERTY POLYRANK_TESTS_LINK ${name} ${layer_USES} ${layer_TESTS_USE})
  set_property(TARGET ${target} PROPERTY POLYRANK_TORCH ${layer_TORCH})
endfunction()

# PyTorch's headers that are worth to be precompiled.
set(POLYRANK_TORCH_HEADERS
    <ATen/Functions.h>
    <ATen/core/Tensor.h>
    <ATen/core/dispatch/Dispatcher.h>
    <ATen/core/ivalue.h>
    <ATen/core/stack.h>
    <torch/library.h>
    <torch/csrc/distributed/c10d/ProcessGroup.hpp>)

# polyrank_share_pch(TARGET PCH [OPTIONS option...] [LIBRARIES library...] HEADERS header...)
#
# Gives TARGET precompiled headers. They are compiled once, as the target PCH, for the first target that
# asks, and reused by the others: all are compiled with the same options.
function(polyrank_share_pch target pch)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "OPTIONS;LIBRARIES;HEADERS")
  if(NOT POLYRANK_WITH_PCH)
    return()
  endif()
  if(NOT TARGET ${pch})
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/${pch}.cc" CONTENT "")
    add_library(${pch} OBJECT "${PROJECT_BINARY_DIR}/${pch}.cc")
    polyrank_add_target(${pch})
    target_compile_options(${pch} PRIVATE ${arg_OPTIONS})
    target_link_libraries(${pch} PUBLIC ${arg_LIBRARIES} Threads::Threads)
    target_precompile_headers(${pch} PRIVATE ${arg_HEADERS})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${pch})
endfunction()

# A source file that uses PyTorch compiles in 3 s instead of 9 s; the headers themselves take 18 s.
function(polyrank_use_torch_pch target)
  polyrank_share_pch(${target} polyrank_torch_pch LIBRARIES Libtorch::Libtorch HEADERS
                     ${POLYRANK_TORCH_HEADERS})
endfunction()

# Makes the shared library `polyrank` of all layers that have sources.
function(polyrank_add_library)
  get_property(layers GLOBAL PROPERTY POLYRANK_LAYERS)
  add_library(polyrank SHARED)
  add_library(polyrank::polyrank ALIAS polyrank)
  polyrank_add_target(polyrank)
  set_target_properties(polyrank PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(polyrank PUBLIC Libtorch::Libtorch Threads::Threads)
  if(NOT POLYRANK_SANITIZE)
    target_link_options(polyrank PRIVATE -Wl,--no-undefined)
  endif()
  foreach(layer IN LISTS layers)
    polyrank_layer_target(${layer} target)
    target_sources(polyrank PRIVATE $<TARGET_OBJECTS:${target}>)
  endforeach()
endfunction()

# Makes the Python extension `_C` of cpp/polyrank/bindings/*.cc. pybind11's headers are the ones
# inside torch: a second copy would register its own, incompatible, type of at::Tensor.
function(polyrank_add_python_module)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/cpp/polyrank/bindings/*.cc")
  if(NOT sources)
    message(STATUS "polyrank: bindings have no sources yet")
    return()
  endif()
  Python_add_library(polyrank_python MODULE WITH_SOABI ${sources})
  polyrank_add_target(polyrank_python)
  target_link_libraries(polyrank_python PRIVATE polyrank Libtorch::Python)
  set_target_properties(polyrank_python PROPERTIES OUTPUT_NAME _C)
  if(POLYRANK_WITH_PCH)
    target_precompile_headers(
      polyrank_python
      PRIVATE
      <ATen/Functions.h>
      <torch/csrc/autograd/python_variable.h>
      <torch/csrc/distributed/c10d/ProcessGroup.hpp>
      <torch/csrc/utils/pybind.h>)
  endif()
endfunction()

# What test files that use PyTorch are compiled with on top: nobody waits for their own code, and everybody
# for their compilation, which takes two thirds of the time without optimisation.
set(POLYRANK_TEST_OPTIONS -O0)

# Makes the test program `polyrank_NAME_tests` of the given sources, with GoogleTest's main. The target
# `polyrank_tests` builds all of them. To ctest each program is one test: loading libtorch for each
# test case would cost more than all cases do; --gtest_filter runs a single one.
function(polyrank_add_test_program name)
  set(tests polyrank_${name}_tests)
  add_executable(${tests} ${ARGN})
  polyrank_add_target(${tests})
  target_include_directories(${tests} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(${tests} PRIVATE GTest::gtest_main GTest::gmock Threads::Threads)
  add_test(NAME ${name} COMMAND ${tests})
  if(NOT TARGET polyrank_tests)
    add_custom_target(polyrank_tests)
  endif()
  add_dependencies(polyrank_tests ${tests})
endfunction()

# Makes the test program of tests/LAYER/*_test.cc and the objects of the layers that it links.
# Objects, not libpolyrank.so: tests see hidden symbols, and tests of layers without PyTorch link
# none of it.
function(polyrank_add_layer_tests layer)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/${layer}/*_test.cc")
  if(NOT sources)
    return()
  endif()
  polyrank_layer_target(${layer} target)
  string(REPLACE "/" "_" name ${layer})
  polyrank_add_test_program(${name} ${sources})
  get_target_property(links ${target} POLYRANK_TESTS_LINK)
  list(REMOVE_DUPLICATES links)
  foreach(linked IN LISTS links)
    polyrank_layer_target(${linked} linked_target)
    if(TARGET ${linked_target})
      target_link_libraries(polyrank_${name}_tests PRIVATE ${linked_target})
    endif()
  endforeach()
  get_target_property(with_torch ${target} POLYRANK_TORCH)
  if(with_torch)
    target_compile_options(polyrank_${name}_tests PRIVATE ${POLYRANK_TEST_OPTIONS})
    polyrank_share_pch(
      polyrank_${name}_tests polyrank_tests_pch
      OPTIONS ${POLYRANK_TEST_OPTIONS}
      LIBRARIES Libtorch::Libtorch GTest::gtest GTest::gmock
      HEADERS ${POLYRANK_TORCH_HEADERS} <gmock/gmock.h> <gtest/gtest.h>)
  endif()
endfunction()
