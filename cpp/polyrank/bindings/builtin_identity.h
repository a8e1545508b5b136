// Built-in functions that do something else for a while are equal to what they were, and hash so.
#pragma once

#include <pybind11/pybind11.h>

namespace polyrank {

// NOTE [Identity of builtin functions]
// CPython compares and hashes a built-in function by its object and the address of its C code.
// Where that code is exchanged, tables of functions (torch._dynamo's rules, registries of
// overrides, a program's own dict) would not find what they hold, or, made meanwhile, not find it
// later. So the classes' hash and comparison are ours from the first exchange on, and take a
// function of ours for the one in whose place it stands.
//
// To be told of each function of ours before it is put in place; once is enough.
// Thread rule: under the interpreter's lock.
void stands_for(PyCFunction ours, PyCFunction theirs);

}  // namespace polyrank
