// Code of Python 3.11, which puts instructions of its own into functions that have run some times.
#pragma once

#include <pybind11/pybind11.h>

#if PY_VERSION_HEX < 0x030C0000

#include <array>
#include <bitset>
#include <string>
#include <vector>

namespace polyrank {

// What bytecode is made of: units of two bytes, what to do and an argument. Behind some are units
// that Python notes things in.
struct Bytecode {
  static constexpr std::size_t kNumBytes = 256;

  unsigned char compare = 0;                     // as it is compiled
  std::bitset<kNumBytes> compares{};             // this and what Python puts in its place
  std::bitset<kNumBytes> arguments{};            // of comparisons for equality
  std::array<unsigned char, kNumBytes> notes{};  // how many units of notes are behind each
};

// From here on each `==` and `!=` of Python code asks the operands' class, in code that
//
// 1. functions among `objects` have, or that is among these itself;
// 2. is compiled or loaded from now on, whoever does it;
//
// and in functions within it; except for code of files whose names begin with one of `exempt`.
//
// Such code stays as it was compiled: Python counts its runs (`co_warmup`) and changes it at the
// eighth, by _PyCode_Quicken of CPython's Python/specialize.c. Code that has come to that keeps
// all but its comparisons.
//
// Thread rule: under the interpreter's lock, once in a process.
void keep_compares_asked(const Bytecode& bytecode, std::vector<std::string> exempt,
                         const pybind11::list& objects);

}  // namespace polyrank

#endif
