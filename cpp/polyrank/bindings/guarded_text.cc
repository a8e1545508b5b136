#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/guarded_text.h>

#include <array>
#include <cstdint>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// What CPython has in the class.
struct OfPython {
  hashfunc hash = PyUnicode_Type.tp_hash;
  richcmpfunc compare = PyUnicode_Type.tp_richcompare;
  objobjproc contains = PyUnicode_Type.tp_as_sequence->sq_contains;
};

const OfPython& of_python() {
  static const OfPython functions;
  return functions;
}

PyObject* guard = nullptr;   // owned
PyObject* marker = nullptr;  // owned
std::int64_t num_guarded = 0;
thread_local bool is_guarding = false;

// Shorter than the text of any number that differs.
constexpr Py_ssize_t kShortest = 18;

bool has_marker(PyObject* text) {
  const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
  return length >= kShortest && PyUnicode_Find(text, marker, 0, length, 1) >= 0;
}

// False with an error set: refused.
bool ask_guard(PyObject* text, PyObject* other, bool is_part) {
  is_guarding = true;
  const std::array<PyObject*, 3> arguments{text, other, is_part ? Py_True : Py_False};
  PyObject* const answer = PyObject_Vectorcall(guard, arguments.data(), arguments.size(), nullptr);
  is_guarding = false;
  Py_XDECREF(answer);
  return answer != nullptr;
}

Py_hash_t hash(PyObject* text) {
  if (!is_guarding && has_marker(text) && !ask_guard(text, Py_None, false)) {
    return -1;
  }
  return of_python().hash(text);
}

PyObject* compare(PyObject* left, PyObject* right, int how) {
  if (!is_guarding && left != right && PyUnicode_Check(left) != 0 && PyUnicode_Check(right) != 0 &&
      (has_marker(left) || has_marker(right)) && !ask_guard(left, right, false)) {
    return nullptr;
  }
  return of_python().compare(left, right, how);
}

int contains(PyObject* text, PyObject* part) {
  if (!is_guarding && PyUnicode_Check(part) != 0 && has_marker(text) &&
      !ask_guard(text, part, true)) {
    return -1;
  }
  return of_python().contains(text, part);
}

}  // namespace

void guard_text(py::object new_guard) {
  of_python();
  if (marker == nullptr) {
    marker = py::str("({").release().ptr();
  }
  ++num_guarded;
  Py_XDECREF(std::exchange(guard, new_guard.release().ptr()));
  PyUnicode_Type.tp_hash = &hash;
  PyUnicode_Type.tp_richcompare = &compare;
  PyUnicode_Type.tp_as_sequence->sq_contains = &contains;
}

void unguard_text() {
  if (--num_guarded == 0) {
    PyUnicode_Type.tp_hash = of_python().hash;
    PyUnicode_Type.tp_richcompare = of_python().compare;
    PyUnicode_Type.tp_as_sequence->sq_contains = of_python().contains;
  }
}

void init_guarded_text(py::module_& module) {
  module.def("guard_text", &guard_text, py::arg("guard"));
  module.def("unguard_text", &unguard_text);
}

}  // namespace polyrank
