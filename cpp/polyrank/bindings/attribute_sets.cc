#include <polyrank/bindings/attribute_sets.h>
#include <polyrank/bindings/class_dict.h>
#include <polyrank/world/rank_thread.h>
#include <torch/csrc/utils/pybind.h>

#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// Null while nobody wants to know. Never destroyed: types may call until the process ends.
py::object& watcher() {
  static auto* const on_set = new py::object();
  return *on_set;
}

// Modules and their subclasses, or classes by their metaclass: what sets their attributes.
struct Family {
  PyTypeObject& type;
  setattrofunc ours = nullptr;
  setattrofunc theirs = type.tp_setattro;  // for all of them the same
};

// Python's convention: -1 with an error set.
int tell(PyObject* owner, PyObject* name, PyObject* value) {
  const RankThread* const thread = RankThread::current();
  if (!watcher() || thread == nullptr || !thread->takes_turns()) {
    return 0;
  }
  try {
    const py::object on_set = watcher();
    on_set(py::handle(owner), py::handle(name), py::handle(value == nullptr ? Py_None : value));
  } catch (py::error_already_set& error) {
    error.restore();
    return -1;
  }
  return 0;
}

int set_module_attribute(PyObject* owner, PyObject* name, PyObject* value);
int set_class_attribute(PyObject* owner, PyObject* name, PyObject* value);

const Family& modules() {
  static const Family family{.type = PyModule_Type, .ours = &set_module_attribute};
  return family;
}

const Family& classes() {
  static const Family family{.type = PyType_Type, .ours = &set_class_attribute};
  return family;
}

int set_module_attribute(PyObject* owner, PyObject* name, PyObject* value) {
  return tell(owner, name, value) < 0 ? -1 : modules().theirs(owner, name, value);
}

int set_class_attribute(PyObject* owner, PyObject* name, PyObject* value) {
  return tell(owner, name, value) < 0 ? -1 : classes().theirs(owner, name, value);
}

py::handle as_handle(PyTypeObject& type) {
  return reinterpret_cast<PyObject*>(&type);  // NOLINT(*-reinterpret-cast)
}

// The type and those derived from it that have its function: each got a copy when it was made.
void exchange(py::handle type, setattrofunc from, setattrofunc to) {
  auto* const fields = reinterpret_cast<PyTypeObject*>(type.ptr());  // NOLINT(*-reinterpret-cast)
  if (fields->tp_setattro != from) {
    return;
  }
  fields->tp_setattro = to;
  for (const py::handle derived : as_handle(PyType_Type).attr("__subclasses__")(type)) {
    exchange(derived, from, to);
  }
}

// `super().__setattr__` in a derived class must come to the function that its base has: Python
// compares them. So the method that the interpreter finds under the name has it too.
void put_method(const Family& family, const char* name, setattrofunc function) {
  const py::dict methods = dict_of_class(&family.type);
  const py::object inherited = dict_of_class(&PyBaseObject_Type)[name];
  auto* const base = reinterpret_cast<PyWrapperDescrObject*>(inherited.ptr())
                         ->d_base;  // NOLINT(*-reinterpret-cast)
  // NOLINTNEXTLINE(*-reinterpret-cast): as CPython keeps it
  PyObject* method = PyDescr_NewWrapper(&family.type, base, reinterpret_cast<void*>(function));
  const auto owned = py::reinterpret_steal<py::object>(method);
  if (!owned || PyDict_SetItemString(methods.ptr(), name, method) < 0) {
    throw py::error_already_set();
  }
}

void switch_on(const Family& family) {
  for (const char* const name : {"__setattr__", "__delattr__"}) {
    put_method(family, name, family.ours);
  }
  exchange(as_handle(family.type), family.theirs, family.ours);
  PyType_Modified(&family.type);
}

void switch_off(const Family& family) {
  exchange(as_handle(family.type), family.ours, family.theirs);
  for (const char* const name : {"__setattr__", "__delattr__"}) {
    put_method(family, name, family.theirs);
  }
  PyType_Modified(&family.type);
}

}  // namespace

void watch_attribute_sets(py::object on_set) {
  const bool was_on = static_cast<bool>(watcher());
  const bool is_on = !on_set.is_none();
  for (const Family* const family : {&modules(), &classes()}) {
    if (is_on && !was_on) {
      switch_on(*family);
    } else if (was_on && !is_on) {
      switch_off(*family);
    }
  }
  watcher() = is_on ? std::move(on_set) : py::object();
}

}  // namespace polyrank
