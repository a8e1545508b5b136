// Comparisons for equality in Python code, as a tool of `sys.monitoring` meets them.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

namespace polyrank {

// A callback of `(code, offset)` for the event INSTRUCTION of `sys.monitoring`.
//
// 1. At an instruction of this opcode and one of these arguments it answers None, so that Python
//    calls it there each time, and puts no instruction of its own in the place.
// 2. At any other it answers `others`.
//
// There is one in a process: another call changes what the first one answers.
pybind11::object instruction_callback(unsigned char opcode,
                                      const std::vector<unsigned char>& arguments,
                                      pybind11::object others);

}  // namespace polyrank
