#include <polyrank/bindings/bindings.h>
#include <pybind11/pybind11.h>
#include <torch/csrc/Device.h>

namespace polyrank {

namespace py = pybind11;

namespace {

// Guarded by the interpreter's lock, both.
newfunc torchs_own = nullptr;
PyObject* helper = nullptr;

// Whether an argument is none that torch.device takes: an index or a name. What text of ranks is
// formatted into has parentheses, which no name has.
bool is_unknown(PyObject* argument) {
  if (PyUnicode_Check(argument) != 0) {
    return PyUnicode_FindChar(argument, '(', 0, PyUnicode_GET_LENGTH(argument), 1) >= 0;
  }
  return argument != Py_None && PyLong_Check(argument) == 0 && !THPDevice_Check(argument);
}

bool has_unknown(PyObject* args, PyObject* options) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i) {
    if (is_unknown(PyTuple_GET_ITEM(args, i))) {
      return true;
    }
  }
  PyObject* value = nullptr;
  for (Py_ssize_t at = 0; options != nullptr && PyDict_Next(options, &at, nullptr, &value) != 0;) {
    if (is_unknown(value)) {
      return true;
    }
  }
  return false;
}

// As torch's; of arguments that torch does not know, what the helper gives, if it is not None.
PyObject* make_device(PyTypeObject* type, PyObject* args, PyObject* options) {
  if (helper != nullptr && has_unknown(args, options)) {
    PyObject* const given = PyObject_Call(helper, args, options);
    if (given != Py_None) {
      return given;
    }
    Py_DECREF(given);
  }
  return torchs_own(type, args, options);
}

// A class of C code is called without a look-up of `__new__`, so its slot is what is exchanged.
void help_device_class(const py::object& with) {
  if (torchs_own == nullptr) {
    torchs_own = THPDeviceType.tp_new;
  }
  Py_XDECREF(helper);
  helper = with.is_none() ? nullptr : Py_NewRef(with.ptr());
  THPDeviceType.tp_new = helper == nullptr ? torchs_own : &make_device;
}

}  // namespace

void init_device_class(py::module_& module) {
  module.def(
      "help_device_class", &help_device_class, py::arg("helper"),
      "Ask `helper`, called with the same arguments, for torch.device() of what that does not "
      "know; None asks nobody.");
}

}  // namespace polyrank
