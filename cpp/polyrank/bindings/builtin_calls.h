// Functions written in C of which each call passes by us.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <functional>

namespace polyrank {

// NOTE [Calls of builtin functions]
// Where a thread that takes turns blocks, it has to give the turn away, and it blocks in functions
// that are written in C: `time.sleep`, the `acquire` of a lock, `recv` of a socket. Replacing their
// names would not reach who imported them before, and methods of builtin types can't be replaced at
// all. But each has one PyMethodDef, from which all its holders call it: there our function is put
// in the place of CPython's, with the same calling convention. Threads that take no turns pass
// through, which costs some 2 ns.

// A builtin function whose calls are ours.
struct BuiltinFunction {
  std::size_t slot = 0;
  pybind11::object original;  // as CPython made it; a method takes its object first
  bool is_method = false;

  pybind11::object call(pybind11::handle args, pybind11::handle keywords) const;
};

// What to do in its place. `args` is a tuple, a method's object first; `keywords` a dict, or null.
using BuiltinHandler = std::function<pybind11::object(
    const BuiltinFunction& function, const pybind11::tuple& args, pybind11::handle keywords)>;

// Has calls of `function`, a builtin function or a method of a builtin type, handled by `handler`
// where the calling thread takes turns, or `by_all` threads, while intercept_builtins(true).
// Throws: UsageError if it is neither, InternalError if there are too many.
void add_builtin(pybind11::handle function, BuiltinHandler handler, bool by_all);

// Thread rule: under the interpreter's lock.
void intercept_builtins(bool on) noexcept;

}  // namespace polyrank
