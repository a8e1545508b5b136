# What `cmake --install` puts where.
#
# Component `python`: `_C` and libpolyrank.so into a folder of polyrank/ for this minor version of torch, where
#                     python/polyrank/compiled_for.py finds them: those for several stand side by side.
# Component `cpp`:    libpolyrank.so, the headers and CMake's package files, for C++ programs.
include(CMakePackageConfigHelpers)

# In site-packages the library stands beside `_C`, and torch's folder beside polyrank's. Anywhere else,
# as in a checkout or a C++ prefix, torch is where this build found it.
set(rpath "$ORIGIN" "$ORIGIN/../../../torch/lib")
if(NOT DEFINED SKBUILD)
  list(APPEND rpath "${Libtorch_LIBRARY_DIR}")
endif()
set_target_properties(polyrank PROPERTIES INSTALL_RPATH "${rpath}")
if(TARGET polyrank_python)
  set_target_properties(polyrank_python PROPERTIES INSTALL_RPATH "${rpath}")
  string(REGEX MATCH "^[0-9]+\\.[0-9]+" torch_minor "${Libtorch_VERSION}")
  install(TARGETS polyrank polyrank_python LIBRARY DESTINATION polyrank/compiled/torch-${torch_minor}
                                                   COMPONENT python)
endif()

install(
  TARGETS polyrank
  EXPORT polyrankTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp)
install(
  DIRECTORY "${PROJECT_SOURCE_DIR}/cpp/polyrank"
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT cpp
  FILES_MATCHING
  PATTERN "*.h"
  PATTERN "bindings" EXCLUDE)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/polyrank)
install(EXPORT polyrankTargets NAMESPACE polyrank:: DESTINATION ${package_dir} COMPONENT cpp)
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/polyrankConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/polyrankConfig.cmake" INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file("${PROJECT_BINARY_DIR}/polyrankConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(
  FILES "${PROJECT_BINARY_DIR}/polyrankConfig.cmake"
        "${PROJECT_BINARY_DIR}/polyrankConfigVersion.cmake"
        "${PROJECT_SOURCE_DIR}/cmake/FindLibtorch.cmake"
  DESTINATION ${package_dir}
  COMPONENT cpp)
