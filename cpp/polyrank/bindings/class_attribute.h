// Attributes of classes that are set for a while.
#pragma once

#include <pybind11/pybind11.h>

namespace polyrank {

// NOTE [Classes that are no sequences]
// A class that is indexed in C, as torch.Tensor is, has the slot of mappings and not that of
// sequences. When CPython sees a `__getitem__` set in it, or deleted again, it fills both, in all
// subclasses too, for good: PySequence_Check is true of tensors from then on, and
// torch.tensor([tensor, 1]) takes the tensor for a list. So what was no sequence is none
// afterwards.

// As setattr(owner, name, value); the owner may be an instance or a module.
// Thread rule: under the interpreter's lock. Throws: what setattr does.
void set_class_attribute(const pybind11::object& owner, const pybind11::str& name,
                         const pybind11::object& value);

// As delattr(owner, name) if the owner itself has the name, else nothing.
// Thread rule: under the interpreter's lock. Throws: what delattr does.
void remove_class_attribute(const pybind11::object& owner, const pybind11::str& name);

}  // namespace polyrank
