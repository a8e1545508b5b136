// What a class itself has, past its metaclass.
#pragma once

#include <pybind11/pybind11.h>

namespace polyrank {

// The dict itself, to be read and changed; PyType_Modified() is the caller's. Since Python 3.12
// that of a class of the interpreter's own is not in the class.
inline pybind11::dict dict_of_class(PyTypeObject* type) {
#if PY_VERSION_HEX >= 0x030C0000
  return pybind11::reinterpret_steal<pybind11::dict>(PyType_GetDict(type));
#else
  return pybind11::reinterpret_borrow<pybind11::dict>(type->tp_dict);
#endif
}

}  // namespace polyrank
