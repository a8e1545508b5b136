#include <polyrank/bindings/kept_entries.h>
#include <torch/csrc/utils/pybind.h>

namespace polyrank {

namespace py = pybind11;

namespace {

py::object checked(PyObject* created) {
  if (created == nullptr) {
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::object>(created);
}

void check(int result) {
  if (result < 0) {
    throw py::error_already_set();
  }
}

Py_ssize_t size_of(const py::handle& container) {
  if (PyDict_Check(container.ptr()) != 0) {
    return PyDict_GET_SIZE(container.ptr());
  }
  return PyList_Check(container.ptr()) != 0 ? PyList_GET_SIZE(container.ptr())
                                            : PySet_GET_SIZE(container.ptr());
}

// Dicts of one size: the same in the same order. In another order is another content.
bool are_same_entries(const py::handle& dict, const py::handle& other) {
  PyObject* key = nullptr;
  PyObject* value = nullptr;
  PyObject* other_key = nullptr;
  PyObject* other_value = nullptr;
  Py_ssize_t position = 0;
  Py_ssize_t other_position = 0;
  while (PyDict_Next(dict.ptr(), &position, &key, &value) != 0 &&
         PyDict_Next(other.ptr(), &other_position, &other_key, &other_value) != 0) {
    if (key != other_key || value != other_value) {
      return false;
    }
  }
  return true;
}

bool are_same_items(const py::handle& list, const py::handle& tuple) {
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.ptr()); ++i) {
    if (PyList_GET_ITEM(list.ptr(), i) != PyTuple_GET_ITEM(tuple.ptr(), i)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool KeptEntries::can_keep(py::handle container) {
  return PyDict_Check(container.ptr()) != 0 || PyList_Check(container.ptr()) != 0 ||
         PySet_Check(container.ptr()) != 0;
}

KeptEntries::KeptEntries(py::handle container) {
  if (size_of(container) == 0) {
    return;
  }
  if (PyDict_Check(container.ptr()) != 0) {
    // By its methods: an OrderedDict has an order of its own.
    copy_ = checked(PyDict_New());
    check(PyDict_Update(copy_.ptr(), container.ptr()));
  } else if (PyList_Check(container.ptr()) != 0) {
    copy_ = checked(PyList_AsTuple(container.ptr()));
  } else {
    copy_ = checked(PyFrozenSet_New(container.ptr()));
  }
}

bool KeptEntries::are_in(py::handle container) const {
  const Py_ssize_t size = size_of(container);
  if (!copy_ || size == 0) {
    return !copy_ && size == 0;
  }
  if (size != PyObject_Size(copy_.ptr())) {
    return false;
  }
  if (PyODict_Check(container.ptr())) {  // in an order that its dict does not have
    return are_same_entries(KeptEntries(container).copy_, copy_);
  }
  if (PyDict_Check(container.ptr()) != 0) {
    return are_same_entries(container, copy_);
  }
  if (PyList_Check(container.ptr()) != 0) {
    return are_same_items(container, copy_);
  }
  const int is_equal = PyObject_RichCompareBool(container.ptr(), copy_.ptr(), Py_EQ);
  check(is_equal);
  return is_equal == 1;
}

void KeptEntries::put_into(py::handle container) const {
  container.attr("clear")();
  if (copy_) {
    container.attr(PyList_Check(container.ptr()) != 0 ? "extend" : "update")(copy_);
  }
}

}  // namespace polyrank
