// Text that may stand for another text on each rank, seen where it is taken for one.
#pragma once

#include <pybind11/pybind11.h>

namespace polyrank {

// NOTE [Guarded text]
// `f"rank{rank}"` is plain text by the time it is made, and what takes it for the text of one rank
// does so in C: keys of dicts and sets, `==`, `in`, `len`, an index, methods, regular expressions.
// All of them come to the class's slots (its hash, which CPython keeps after the first time, its
// comparison, its search for a part, …) or to methods that are written in C. So while text is
// guarded these are ours: they look for what the text of a number that differs has in it and other
// text has hardly ever, "({" or its like, and ask the guards about such text alone.
//
// CPython compares text that it has met at a place in the program before without asking the class;
// there the guard was asked at the first times. Since 3.12 it can be told to ask
// (asked_compares.h).

// What is asked, in Python:
// `as_one(text, other, how)`: called before text is hashed for the first time (`other` is None),
// compared with another text that is not the same object (`how` is Python's Py_LT, Py_LE, …), or
// searched for it (`how` is -1). It raises an error to refuse that.
// `taken_apart(function, args, keywords)`: called in place of `function`, which is a method of
// `str`, `int`, `float`, or in `methods` or `ordering`; what it returns is what the program gets.
struct TextGuards {
  pybind11::object as_one;
  pybind11::object taken_apart;
};

// Names the guards, methods of builtin types that take text, builtin functions of which the second
// argument is the name of an attribute, and those that sort a list. Once a process.
void set_text_guards(TextGuards guards, const pybind11::list& methods, const pybind11::list& naming,
                     const pybind11::list& ordering);

// Ends with as many unguard_text().
// Requires: guards were set.
// Thread rule: under the interpreter's lock.
void guard_text();
void unguard_text();

}  // namespace polyrank
