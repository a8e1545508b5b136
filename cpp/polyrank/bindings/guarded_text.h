// Text that may stand for another text on each rank, seen where it is a key or is compared.
#pragma once

#include <pybind11/pybind11.h>

namespace polyrank {

// NOTE [Guarded text]
// `f"rank{rank}"` is plain text by the time it is made, and keys of dicts and sets, `==` and `in`
// take it in C. All of them come to the class's hash, which CPython keeps after the first time, to
// its comparison, or to its search for a part (`"7" in text`). So while text is guarded these three
// are ours: they look for what the text of a number that differs has in it and other text has
// hardly ever, "({", and ask the guard about such text alone.
//
// `guard(text, other, is_part)`: called before text is hashed for the first time (`other` is None),
// compared with another text that is not the same object, or searched for it (`is_part`); it raises
// an error to refuse that.
// CPython compares text that it has met at a place in the program before without asking the class;
// there the guard was asked at the first times.
//
// Ends with as many unguard_text(); the last guard counts.
// Thread rule: under the interpreter's lock.
void guard_text(pybind11::object guard);
void unguard_text();

}  // namespace polyrank
