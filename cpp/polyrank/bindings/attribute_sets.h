// Sees who sets attributes of modules and classes.
#pragma once

#include <pybind11/pybind11.h>

namespace polyrank {

// From now on `on_set(owner, name, value)` is called before a thread that takes turns sets an
// attribute of a module or class, or deletes it (`value` is None then); None ends that. What
// Python's own machinery does directly (`global` in a function, the body of a class) is not seen.
//
// Thread rule: under the interpreter's lock.
void watch_attribute_sets(pybind11::object on_set);

}  // namespace polyrank
