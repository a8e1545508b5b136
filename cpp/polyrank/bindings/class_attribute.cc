#include <polyrank/bindings/class_attribute.h>
#include <polyrank/bindings/class_dict.h>

#include <algorithm>
#include <iterator>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

bool has_slots(const PyTypeObject* type) { return type->tp_as_sequence != nullptr; }

bool is_sequence(const PyTypeObject* type) {
  return has_slots(type) && type->tp_as_sequence->sq_item != nullptr;
}

// Whether it is indexed as a class of C code is that is no sequence.
bool is_indexed_as_no_sequence(PyTypeObject* type) {
  const py::str name("__getitem__");
  PyObject* const found = _PyType_Lookup(type, name.ptr());  // borrowed
  return found != nullptr && Py_IS_TYPE(found, &PyWrapperDescr_Type) &&
         !is_sequence(PyDescr_TYPE(found));
}

// The class and all below it.
void collect(const py::handle& owner, std::vector<PyTypeObject*>* types) {
  auto* const type = reinterpret_cast<PyTypeObject*>(owner.ptr());  // NOLINT(*-reinterpret-cast)
  types->push_back(type);
  const py::handle metaclass(reinterpret_cast<PyObject*>(&PyType_Type));  // NOLINT
  for (const py::handle below : metaclass.attr("__subclasses__")(owner)) {
    collect(below, types);
  }
}

bool makes_sequences(const py::object& owner, const py::str& name) {
  static PyObject* const indexing = PyUnicode_InternFromString("__getitem__");
  return PyType_Check(owner.ptr()) != 0 && PyUnicode_Compare(name.ptr(), indexing) == 0;
}

// Changes an attribute; classes that were no sequences are none afterwards.
template <class Change>
void change_class(const py::object& owner, const py::str& name, const Change& change) {
  if (!makes_sequences(owner, name)) {
    change();
    return;
  }
  std::vector<PyTypeObject*> types;
  collect(owner, &types);
  std::vector<PyTypeObject*> no_sequences;
  std::copy_if(types.begin(), types.end(), std::back_inserter(no_sequences),
               [](const PyTypeObject* type) { return has_slots(type) && !is_sequence(type); });
  change();
  // Those that were made since the attribute was set are sequences until it is deleted.
  std::copy_if(
      types.begin(), types.end(), std::back_inserter(no_sequences),
      [](PyTypeObject* type) { return is_sequence(type) && is_indexed_as_no_sequence(type); });
  for (PyTypeObject* type : no_sequences) {
    type->tp_as_sequence->sq_item = nullptr;
  }
}

// Whether setting the name on the class would be taken for setting it on an instance of its
// metaclass, as "__class__" is.
bool is_of_metaclass(const py::object& owner, const py::str& name) {
  if (PyType_Check(owner.ptr()) == 0) {
    return false;
  }
  PyObject* const found = _PyType_Lookup(Py_TYPE(owner.ptr()), name.ptr());  // borrowed
  return found != nullptr && Py_TYPE(found)->tp_descr_set != nullptr;
}

// What the class itself has, to be changed behind its metaclass.
py::dict own_attributes(const py::object& owner) {
  auto* const type = reinterpret_cast<PyTypeObject*>(owner.ptr());  // NOLINT(*-reinterpret-cast)
  return dict_of_class(type);
}

bool has_own(const py::object& owner, const py::str& name) {
  if (PyType_Check(owner.ptr()) != 0) {
    return own_attributes(owner).contains(name);
  }
  return py::dict(owner.attr("__dict__")).contains(name);
}

void set_attribute(const py::object& owner, const py::str& name, const py::object& value) {
  if (!is_of_metaclass(owner, name)) {
    py::setattr(owner, name, value);
    return;
  }
  own_attributes(owner)[name] = value;
  PyType_Modified(reinterpret_cast<PyTypeObject*>(owner.ptr()));  // NOLINT(*-reinterpret-cast)
}

void delete_attribute(const py::object& owner, const py::str& name) {
  if (!is_of_metaclass(owner, name)) {
    py::delattr(owner, name);
    return;
  }
  own_attributes(owner).attr("__delitem__")(name);
  PyType_Modified(reinterpret_cast<PyTypeObject*>(owner.ptr()));  // NOLINT(*-reinterpret-cast)
}

}  // namespace

void set_class_attribute(const py::object& owner, const py::str& name, const py::object& value) {
  change_class(owner, name, [&] { set_attribute(owner, name, value); });
}

void remove_class_attribute(const py::object& owner, const py::str& name) {
  if (has_own(owner, name)) {
    change_class(owner, name, [&] { delete_attribute(owner, name); });
  }
}

}  // namespace polyrank
