# Finds the C++ libraries and headers inside an installed `torch` Python package, or an unpacked
# libtorch, without asking for what that build of PyTorch was itself built with.
#
# `find_package(Torch)` also searches for CUDA's toolkit, MKL and others when the build of PyTorch
# uses them, and fails on a machine that has just the package. polyrank needs none of these.
#
# Input:    Libtorch_ROOT (folder that holds include/ and lib/), else the package that
#           Python_EXECUTABLE imports, else the one that python3 imports.
# Targets:  Libtorch::Libtorch  headers, libc10 and libtorch_cpu
#           Libtorch::Python    the same with libtorch_python (pybind11's headers included)
# Results:  Libtorch_FOUND, Libtorch_VERSION, Libtorch_LIBRARY_DIR
if(NOT Libtorch_ROOT)
  set(_libtorch_python "${Python_EXECUTABLE}")
  if(NOT _libtorch_python)
    set(_libtorch_python python3)
  endif()
  # find_spec does not import torch: that would cost seconds in every configure.
  execute_process(
    COMMAND
      "${_libtorch_python}" -c
      "from importlib.util import find_spec; print(find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE Libtorch_ROOT
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()

find_path(Libtorch_INCLUDE_DIR torch/library.h PATHS "${Libtorch_ROOT}/include" NO_DEFAULT_PATH)
find_library(Libtorch_C10_LIBRARY c10 PATHS "${Libtorch_ROOT}/lib" NO_DEFAULT_PATH)
find_library(Libtorch_CPU_LIBRARY torch_cpu PATHS "${Libtorch_ROOT}/lib" NO_DEFAULT_PATH)
find_library(Libtorch_PYTHON_LIBRARY torch_python PATHS "${Libtorch_ROOT}/lib" NO_DEFAULT_PATH)
mark_as_advanced(Libtorch_INCLUDE_DIR Libtorch_C10_LIBRARY Libtorch_CPU_LIBRARY
                 Libtorch_PYTHON_LIBRARY)

set(_libtorch_version_header "${Libtorch_INCLUDE_DIR}/torch/headeronly/version.h")
if(EXISTS "${_libtorch_version_header}")
  file(STRINGS "${_libtorch_version_header}" _libtorch_version_lines
       REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
  string(REGEX REPLACE "[^0-9;]" "" Libtorch_VERSION "${_libtorch_version_lines}")
  string(REPLACE ";" "." Libtorch_VERSION "${Libtorch_VERSION}")
endif()

set(_libtorch_hint "Install torch first, then build with it in sight: `make setup`, or pip's")
string(APPEND _libtorch_hint " --no-build-isolation, or -DLibtorch_ROOT=FOLDER.")
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  Libtorch
  REQUIRED_VARS Libtorch_CPU_LIBRARY Libtorch_C10_LIBRARY Libtorch_INCLUDE_DIR
  VERSION_VAR Libtorch_VERSION REASON_FAILURE_MESSAGE "${_libtorch_hint}")

if(Libtorch_FOUND AND NOT TARGET Libtorch::Libtorch)
  get_filename_component(Libtorch_LIBRARY_DIR "${Libtorch_CPU_LIBRARY}" DIRECTORY)
  add_library(Libtorch::Libtorch INTERFACE IMPORTED)
  target_include_directories(
    Libtorch::Libtorch SYSTEM INTERFACE "${Libtorch_INCLUDE_DIR}"
                                        "${Libtorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_link_libraries(Libtorch::Libtorch INTERFACE "${Libtorch_CPU_LIBRARY}"
                                                     "${Libtorch_C10_LIBRARY}")
  target_compile_features(Libtorch::Libtorch INTERFACE cxx_std_20)
  # USE_DISTRIBUTED and its like, which c10d's headers ask for, as this build of PyTorch has them.
  file(READ "${Libtorch_INCLUDE_DIR}/../share/cmake/Caffe2/Caffe2Targets.cmake" _libtorch_targets)
  if(_libtorch_targets MATCHES
     "\\(torch_cpu PROPERTIES[ \n]+INTERFACE_COMPILE_DEFINITIONS \"([A-Z0-9_;]+)\"")
    target_compile_definitions(Libtorch::Libtorch INTERFACE ${CMAKE_MATCH_1})
  endif()
  if(Libtorch_PYTHON_LIBRARY)
    add_library(Libtorch::Python INTERFACE IMPORTED)
    target_link_libraries(Libtorch::Python INTERFACE Libtorch::Libtorch "${Libtorch_PYTHON_LIBRARY}")
  endif()
endif()
