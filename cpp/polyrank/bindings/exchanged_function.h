// Functions of other libraries' C code that do something else while we want it.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>

namespace polyrank {

// A built-in function, or a built-in method of a class, whose insides can be exchanged.
// The object stays the one that it is, so whoever holds it is reached, however it is held, and what
// compares or looks up functions by identity finds them. While nothing of ours is in place the
// object is as it was, to the byte, and costs what it cost.
//
// Thread rule: under the interpreter's lock.
class ExchangedFunction {
 public:
  // How many objects can be made in a process: each takes a C function of its own for good.
  static constexpr std::size_t kMost = 192;

  // Throws: UsageError if `function` is neither; InternalError past kMost.
  explicit ExchangedFunction(pybind11::object function);

  // A function that does what the object did, whatever is in place.
  const pybind11::object& original() const { return original_; }

  // Calls of the object call `own` from now on, a method's with the instance first; None: puts the
  // original back. Calls that run go on as they began.
  void put(pybind11::object own);

 private:
  // What the interpreter reads when it calls: both kinds of objects have it.
  struct Insides {
    PyMethodDef* definition = nullptr;
    vectorcallfunc vectorcall = nullptr;
  };
  bool is_method() const;
  Insides insides() const;
  void set(const Insides& insides);

  pybind11::object function_;
  pybind11::object original_;
  Insides theirs_;
  Insides ours_;
  std::size_t slot_;
};

// Has a bound method, whoever holds it, call `function` with its object first.
// Throws: UsageError if `method` is none.
// Thread rule: under the interpreter's lock.
void bind_function(pybind11::handle method, pybind11::object function);

}  // namespace polyrank
