#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/builtin_identity.h>
#include <polyrank/bindings/exchanged_function.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>

#include <array>
#include <string>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// What stands in the place of one function. CPython's C functions are told nothing about the object
// that was called, so each has an entry of its own, which knows its slot.
struct Slot {
  PyMethodDef definition{};
  PyObject* own = nullptr;  // held for the process's life, as the function is
  bool is_method = false;
};

struct Slots {
  std::array<Slot, ExchangedFunction::kMost> slots;
  std::size_t num_used = 0;
};

Slots& all() {
  static Slots slots;
  return slots;
}

PyObject* with_instance_first(PyObject* self, PyObject* args) {
  const Py_ssize_t size = PyTuple_GET_SIZE(args);
  PyObject* all = PyTuple_New(size + 1);
  if (all == nullptr) {
    return nullptr;
  }
  Py_INCREF(self);
  PyTuple_SET_ITEM(all, 0, self);
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyObject* arg = PyTuple_GET_ITEM(args, i);
    Py_INCREF(arg);
    PyTuple_SET_ITEM(all, i + 1, arg);
  }
  return all;
}

template <std::size_t kSlot>
PyObject* call(PyObject* self, PyObject* args, PyObject* kwargs) {
  const Slot& slot = all().slots.at(kSlot);
  // Another thread may put something else in the place meanwhile.
  const auto own = py::reinterpret_borrow<py::object>(slot.own);
  if (!slot.is_method) {
    return PyObject_Call(own.ptr(), args, kwargs);
  }
  const auto given = py::reinterpret_steal<py::object>(with_instance_first(self, args));
  return given ? PyObject_Call(own.ptr(), given.ptr(), kwargs) : nullptr;
}

template <std::size_t... kSlots>
constexpr std::array<PyCFunctionWithKeywords, sizeof...(kSlots)> entries(
    std::index_sequence<kSlots...> /*slots*/) {
  return {&call<kSlots>...};
}

constexpr auto kEntries = entries(std::make_index_sequence<ExchangedFunction::kMost>());

PyMethodDescrObject* as_method(const py::object& function) {
  return reinterpret_cast<PyMethodDescrObject*>(function.ptr());
}

PyCFunctionObject* as_function(const py::object& function) {
  return reinterpret_cast<PyCFunctionObject*>(function.ptr());
}

// Another object of the same kind that runs `definition`.
py::object twin(const py::object& function, PyMethodDef* definition) {
  PyObject* made = nullptr;
  if (Py_IS_TYPE(function.ptr(), &PyMethodDescr_Type)) {
    made = PyDescr_NewMethod(PyDescr_TYPE(function.ptr()), definition);
  } else {
    PyCFunctionObject* known = as_function(function);
    made = PyCMethod_New(definition, known->m_self, known->m_module,
                         (definition->ml_flags & METH_METHOD) == 0
                             ? nullptr
                             : PyCFunction_GET_CLASS(function.ptr()));
  }
  if (made == nullptr) {
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::object>(made);
}

std::size_t next_slot() {
  if (all().num_used == ExchangedFunction::kMost) {
    throw InternalError(
        str_cat("more than ", ExchangedFunction::kMost, " built-in functions are replaced"));
  }
  return all().num_used++;
}

py::object checked(py::object function) {
  if (!Py_IS_TYPE(function.ptr(), &PyMethodDescr_Type) && PyCFunction_Check(function.ptr()) == 0) {
    throw UsageError(str_cat(py::repr(function).cast<std::string>(),
                             " is no built-in function or method of a built-in class"));
  }
  return function;
}

}  // namespace

ExchangedFunction::ExchangedFunction(py::object function)
    : function_(checked(std::move(function))), theirs_(insides()), slot_(next_slot()) {
  original_ = twin(function_, theirs_.definition);
  Slot& slot = all().slots.at(slot_);
  slot.is_method = is_method();
  slot.definition = {
      .ml_name = theirs_.definition->ml_name,
      .ml_meth = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(kEntries.at(slot_))),
      .ml_flags = METH_VARARGS | METH_KEYWORDS | (theirs_.definition->ml_flags & METH_STATIC),
      .ml_doc = theirs_.definition->ml_doc};
  stands_for(slot.definition.ml_meth, theirs_.definition->ml_meth);
  ours_.definition = &slot.definition;
  // A function of these flags is called without the vector protocol, a method through it.
  ours_.vectorcall =
      is_method() ? as_method(twin(function_, &slot.definition))->vectorcall : nullptr;
}

bool ExchangedFunction::is_method() const {
  return Py_IS_TYPE(function_.ptr(), &PyMethodDescr_Type);
}

ExchangedFunction::Insides ExchangedFunction::insides() const {
  if (is_method()) {
    return {.definition = as_method(function_)->d_method,
            .vectorcall = as_method(function_)->vectorcall};
  }
  return {.definition = as_function(function_)->m_ml,
          .vectorcall = as_function(function_)->vectorcall};
}

void ExchangedFunction::set(const Insides& insides) {
  if (is_method()) {
    as_method(function_)->d_method = insides.definition;
    as_method(function_)->vectorcall = insides.vectorcall;
  } else {
    as_function(function_)->m_ml = insides.definition;
    as_function(function_)->vectorcall = insides.vectorcall;
  }
}

void ExchangedFunction::put(py::object own) {
  if (own.is_none()) {
    set(theirs_);  // what is in the slot stays: a call on another thread may just read it
    return;
  }
  PyObject* before = all().slots.at(slot_).own;
  all().slots.at(slot_).own = own.release().ptr();
  set(ours_);
  Py_XDECREF(before);
}

void bind_function(py::handle method, py::object function) {
  if (PyMethod_Check(method.ptr()) == 0) {
    throw UsageError(str_cat(py::repr(method).cast<std::string>(), " is no bound method"));
  }
  PyObject*& bound = reinterpret_cast<PyMethodObject*>(method.ptr())->im_func;
  PyObject* before = std::exchange(bound, function.release().ptr());
  Py_DECREF(before);
}

void init_exchanged_function(py::module_& module) {
  py::class_<ExchangedFunction>(module, "ExchangedFunction")
      .def(py::init<py::object>(), py::arg("function"))
      .def_property_readonly("original", &ExchangedFunction::original)
      .def("put", &ExchangedFunction::put, py::arg("own"));
}

}  // namespace polyrank
