# Compiles through ccache where it is installed, so that a second build directory, or a second
# clone, costs seconds. `-DCMAKE_CXX_COMPILER_LAUNCHER=` (empty) turns it off.
if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(POLYRANK_CCACHE ccache)
  if(POLYRANK_CCACHE)
    # base_dir makes clones at different paths share results; the sloppiness is what ccache asks
    # for to work with precompiled headers.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        "${CMAKE_COMMAND};-E;env;CCACHE_BASEDIR=${PROJECT_SOURCE_DIR};CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime;${POLYRANK_CCACHE}"
        CACHE STRING "Prefix of each compile command")
  endif()
endif()
