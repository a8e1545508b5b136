// Functions written in C of which each call passes by us.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace polyrank {

// NOTE [Calls of builtin functions]
// Where a thread that takes turns blocks, it has to give the turn away, and it blocks in functions
// that are written in C: `time.sleep`, the `acquire` of a lock, `recv` of a socket. Text that
// differs between ranks is taken apart by methods of `str`. Replacing names would not reach who
// imported them before, and methods of builtin types can't be replaced at all. But each has one
// PyMethodDef, from which all its holders call it: there our function is put in the place of
// CPython's, with the same calling convention. Calls that a condition does not hold for pass
// through, which costs what the condition costs.

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

// Whether a call is the handler's. `self` is a method's object; keywords are not looked at.
using BuiltinCondition = bool (*)(PyObject* self, PyObject* const* args, Py_ssize_t num_args);

// Builtin functions that are intercepted together. There is no way to take one out again.
// Thread rule: under the interpreter's lock.
class InterceptedBuiltins {
 public:
  // Has calls of `function`, a builtin function or a method of a builtin type that is in no set
  // yet, handled by `handler` where `applies` says so, while intercept(true).
  // Throws: UsageError if it is neither, InternalError if there are too many.
  void add(pybind11::handle function, BuiltinHandler handler, BuiltinCondition applies);

  void intercept(bool on) noexcept;

 private:
  std::vector<std::size_t> slots_;
};

}  // namespace polyrank
