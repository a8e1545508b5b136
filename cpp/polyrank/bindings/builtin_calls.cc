#include <polyrank/bindings/builtin_calls.h>
#include <polyrank/bindings/builtin_identity.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include <array>
#include <deque>
#include <string>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

constexpr std::size_t kMaxFunctions = 256;

struct Slot {
  PyMethodDef* def = nullptr;  // CPython's, whose function is exchanged
  PyMethodDef original{};      // as it was
  PyCFunction ours = nullptr;
  BuiltinFunction function{};
  BuiltinHandler handler;
  BuiltinCondition applies = nullptr;
};

// Never destroyed: the functions are called until the process ends.
std::deque<Slot>& slots() {
  static auto* const all = new std::deque<Slot>();
  return *all;
}

// Python's convention: null with an error set.
template <class F>
PyObject* as_python(const F& f) {
  try {
    return f().release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (python_error& error) {
    error.restore();
  } catch (const Error&) {
    try {
      interpreter_hooks().rethrow(std::current_exception());
    } catch (python_error& error) {
      error.restore();
    }
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyObject* handle(const Slot& slot, PyObject* self, PyObject* const* args, Py_ssize_t num_args,
                 py::handle keywords) {
  return as_python([&] {
    const Py_ssize_t first = slot.function.is_method ? 1 : 0;
    py::tuple all(num_args + first);
    if (slot.function.is_method) {
      all[0] = py::reinterpret_borrow<py::object>(self);
    }
    for (Py_ssize_t i = 0; i < num_args; ++i) {
      all[static_cast<std::size_t>(first + i)] = py::reinterpret_borrow<py::object>(args[i]);
    }
    return slot.handler(slot.function, all, keywords);
  });
}

// The values that follow `args`, by the names in `names`, as a dict; null if there are none.
py::object keywords_of(PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  if (names == nullptr) {
    return {};
  }
  py::dict keywords;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i) {
    keywords[py::handle(PyTuple_GET_ITEM(names, i))] =
        py::reinterpret_borrow<py::object>(args[num_args + i]);
  }
  return keywords;
}

PyObject* const* items_of(PyObject* tuple) {
  return reinterpret_cast<PyTupleObject*>(tuple)->ob_item;
}

// Our functions, one of each calling convention for each slot.
template <std::size_t kSlot>
struct Ours {
  static const Slot& slot() { return slots()[kSlot]; }

  template <class F, class... Args>
  static PyObject* original(Args... args) {
    return reinterpret_cast<F>(reinterpret_cast<void (*)()>(slot().original.ml_meth))(args...);
  }

  static bool applies(PyObject* self, PyObject* const* args, Py_ssize_t num_args) {
    return slot().applies(self, args, num_args);
  }

  static PyObject* varargs(PyObject* self, PyObject* args) { return keywords(self, args, nullptr); }
  static PyObject* keywords(PyObject* self, PyObject* args, PyObject* names) {
    PyObject* const* const items = items_of(args);
    const Py_ssize_t num_args = PyTuple_GET_SIZE(args);
    if (applies(self, items, num_args)) {
      return handle(slot(), self, items, num_args, names);
    }
    return (slot().original.ml_flags & METH_KEYWORDS) != 0
               ? original<PyCFunctionWithKeywords>(self, args, names)
               : slot().original.ml_meth(self, args);
  }
  static PyObject* no_args(PyObject* self, PyObject* none) {
    return applies(self, nullptr, 0) ? handle(slot(), self, nullptr, 0, {})
                                     : slot().original.ml_meth(self, none);
  }
  static PyObject* one(PyObject* self, PyObject* arg) {
    return applies(self, &arg, 1) ? handle(slot(), self, &arg, 1, {})
                                  : slot().original.ml_meth(self, arg);
  }
  static PyObject* fast(PyObject* self, PyObject* const* args, Py_ssize_t num_args) {
    using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);
    return applies(self, args, num_args) ? handle(slot(), self, args, num_args, {})
                                         : original<Fast>(self, args, num_args);
  }
  static PyObject* fast_keywords(PyObject* self, PyObject* const* args, Py_ssize_t num_args,
                                 PyObject* names) {
    using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
    return applies(self, args, num_args)
               ? handle(slot(), self, args, num_args, keywords_of(args, num_args, names))
               : original<Fast>(self, args, num_args, names);
  }
  static PyObject* method(PyObject* self, PyTypeObject* type, PyObject* const* args,
                          std::size_t size, PyObject* names) {
    const auto num_args = static_cast<Py_ssize_t>(size);
    return applies(self, args, num_args)
               ? handle(slot(), self, args, num_args, keywords_of(args, num_args, names))
               : original<PyCMethod>(self, type, args, size, names);
  }

  static PyCFunction of_convention(int flags) {
    const auto any = [](auto* function) {
      return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
    };
    switch (flags & ~(METH_STATIC | METH_CLASS | METH_COEXIST)) {
      case METH_VARARGS:
        return &varargs;
      case METH_VARARGS | METH_KEYWORDS:
        return any(&keywords);
      case METH_NOARGS:
        return &no_args;
      case METH_O:
        return &one;
      case METH_FASTCALL:
        return any(&fast);
      case METH_FASTCALL | METH_KEYWORDS:
        return any(&fast_keywords);
      case METH_METHOD | METH_FASTCALL | METH_KEYWORDS:
        return any(&method);
      default:
        return nullptr;
    }
  }
};

template <std::size_t... kSlots>
PyCFunction ours_of(std::size_t slot, int flags, std::index_sequence<kSlots...> /*slots*/) {
  static constexpr std::array<PyCFunction (*)(int), sizeof...(kSlots)> kAll{
      &Ours<kSlots>::of_convention...};
  return kAll.at(slot)(flags);
}

PyMethodDef* def_of(py::handle function) {
  if (PyCFunction_Check(function.ptr()) != 0) {
    return reinterpret_cast<PyCFunctionObject*>(function.ptr())->m_ml;
  }
  if (Py_TYPE(function.ptr()) == &PyMethodDescr_Type) {
    return reinterpret_cast<PyMethodDescrObject*>(function.ptr())->d_method;
  }
  throw UsageError(
      str_cat(py::repr(function).cast<std::string>(), " is no function that is written in C"));
}

// The function as it was, made of a copy of its definition.
py::object original_of(py::handle function, PyMethodDef* copy) {
  if (PyCFunction_Check(function.ptr()) != 0) {
    const auto* builtin = reinterpret_cast<PyCFunctionObject*>(function.ptr());
    return py::reinterpret_steal<py::object>(PyCMethod_New(copy, builtin->m_self, builtin->m_module,
                                                           PyCFunction_GET_CLASS(function.ptr())));
  }
  PyTypeObject* const type = reinterpret_cast<PyDescrObject*>(function.ptr())->d_type;
  return py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, copy));
}

}  // namespace

py::object BuiltinFunction::call(py::handle args, py::handle keywords) const {
  auto result =
      py::reinterpret_steal<py::object>(PyObject_Call(original.ptr(), args.ptr(), keywords.ptr()));
  if (!result) {
    throw py::error_already_set();
  }
  return result;
}

void InterceptedBuiltins::add(py::handle function, BuiltinHandler handler,
                              BuiltinCondition applies) {
  if (Py_TYPE(function.ptr()) == &PyInstanceMethod_Type) {  // so pybind11 makes methods
    function = PyInstanceMethod_GET_FUNCTION(function.ptr());
  }
  PyMethodDef* const def = def_of(function);
  const std::size_t number = slots().size();
  if (number == kMaxFunctions) {
    throw InternalError("too many builtin functions are intercepted");
  }
  PyCFunction const ours =
      ours_of(number, def->ml_flags, std::make_index_sequence<kMaxFunctions>());
  if (ours == nullptr) {
    throw InternalError(
        str_cat(def->ml_name, " is called in a way that is not known (", def->ml_flags, ")"));
  }
  Slot& slot = slots().emplace_back(Slot{.def = def,
                                         .original = *def,
                                         .ours = ours,
                                         .handler = std::move(handler),
                                         .applies = applies});
  slot.function = {.slot = number,
                   .original = original_of(function, &slot.original),
                   .is_method = PyCFunction_Check(function.ptr()) == 0};
  slots_.push_back(number);
  stands_for(ours, def->ml_meth);
}

void InterceptedBuiltins::intercept(bool on) noexcept {
  for (const std::size_t number : slots_) {
    Slot& slot = slots()[number];
    slot.def->ml_meth = on ? slot.ours : slot.original.ml_meth;
  }
}

}  // namespace polyrank
