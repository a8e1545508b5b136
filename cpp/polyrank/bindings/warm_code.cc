#include <polyrank/bindings/warm_code.h>

#if PY_VERSION_HEX < 0x030C0000

#include <polyrank/bindings/builtin_calls.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

struct Keeping {
  Bytecode bytecode;
  std::vector<std::string> exempt;
  InterceptedBuiltins doors;
  newfunc new_code = PyCode_Type.tp_new;  // as CPython has it
};

// Never destroyed: code runs until the end.
Keeping& keeping() {
  static auto* const all = new Keeping();
  return *all;
}

PyCodeObject* as_code(PyObject* object) {
  return PyCode_Check(object) ? reinterpret_cast<PyCodeObject*>(object) : nullptr;
}

bool is_exempt(const PyCodeObject& code) {
  Py_ssize_t size = 0;
  const char* const file = PyUnicode_AsUTF8AndSize(code.co_filename, &size);
  if (file == nullptr) {
    PyErr_Clear();  // the name has half a character in it: no file of ours
    return false;
  }
  const std::string_view name(file, static_cast<std::size_t>(size));
  return std::ranges::any_of(keeping().exempt,
                             [&](const std::string& prefix) { return name.starts_with(prefix); });
}

// Whether there is a comparison for equality, which is as it was compiled then.
bool restore_compares(PyCodeObject& code) {
  const Bytecode& bytecode = keeping().bytecode;
  auto* const bytes = reinterpret_cast<unsigned char*>(code.co_code_adaptive);
  bool found = false;
  for (Py_ssize_t unit = 0; unit < Py_SIZE(&code);) {
    unsigned char* const instruction = std::next(bytes, 2 * unit);
    const unsigned char opcode = *instruction;
    if (bytecode.compares.test(opcode) && bytecode.arguments.test(*std::next(instruction))) {
      *instruction = bytecode.compare;
      found = true;
    }
    unit += 1 + bytecode.notes.at(opcode);
  }
  return found;
}

using Codes = std::unordered_set<PyCodeObject*>;

void keep_asked(PyCodeObject* code, Codes& seen) {
  if (!seen.insert(code).second || is_exempt(*code)) {
    return;
  }
  if (restore_compares(*code)) {
    code->co_warmup = 0;  // it counts up to 0, and does nothing there
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_consts); ++i) {
    if (PyCodeObject* const inner = as_code(PyTuple_GET_ITEM(code->co_consts, i))) {
      keep_asked(inner, seen);
    }
  }
}

// --- Where code comes from ---------------------------------------------------------------------

bool always(PyObject* /*self*/, PyObject* const* /*args*/, Py_ssize_t /*num_args*/) { return true; }

// Text; code has passed by the other functions.
bool runs_text(PyObject* /*self*/, PyObject* const* args, Py_ssize_t num_args) {
  return num_args > 0 && !PyCode_Check(*args);
}

py::object handle_making(const BuiltinFunction& function, const py::tuple& args,
                         py::handle keywords) {
  py::object made = function.call(args, keywords);
  if (PyCodeObject* const code = as_code(made.ptr())) {
    Codes seen;
    keep_asked(code, seen);
  }
  return made;
}

// `exec` and `eval` of text. What they compile inherits the caller's future statements, as
// `compile` does: the caller's is the frame that runs.
BuiltinHandler handle_running(const char* mode) {
  return [mode](const BuiltinFunction& function, const py::tuple& args, py::handle keywords) {
    py::object source = args[0];
    if (PyUnicode_Check(source.ptr()) && std::string_view(mode) == "eval") {
      source = source.attr("lstrip")(" \t");
    }
    py::list given(args);
    if (PyUnicode_Check(source.ptr()) || PyObject_CheckBuffer(source.ptr())) {
      given[0] = py::module_::import("builtins").attr("compile")(source, "<string>", mode);
    }
    return function.call(py::tuple(given), keywords);
  };
}

PyObject* new_code(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  PyObject* const made = keeping().new_code(type, args, keywords);
  if (made != nullptr) {
    Codes seen;
    keep_asked(reinterpret_cast<PyCodeObject*>(made), seen);
  }
  return made;
}

void watch_doors() {
  InterceptedBuiltins& doors = keeping().doors;
  const auto builtins = py::module_::import("builtins");
  const auto code_type = py::handle(reinterpret_cast<PyObject*>(&PyCode_Type));
  doors.add(builtins.attr("compile"), &handle_making, &always);
  doors.add(py::module_::import("marshal").attr("loads"), &handle_making, &always);
  doors.add(code_type.attr("replace"), &handle_making, &always);
  doors.add(builtins.attr("exec"), handle_running("exec"), &runs_text);
  doors.add(builtins.attr("eval"), handle_running("eval"), &runs_text);
  doors.intercept(true);
  PyCode_Type.tp_new = &new_code;
}

}  // namespace

void keep_compares_asked(const Bytecode& bytecode, std::vector<std::string> exempt,
                         const py::list& objects) {
  keeping().bytecode = bytecode;
  keeping().exempt = std::move(exempt);
  watch_doors();
  Codes seen;
  for (const py::handle object : objects) {
    PyObject* const code =
        PyFunction_Check(object.ptr()) ? PyFunction_GET_CODE(object.ptr()) : object.ptr();
    if (PyCodeObject* const found = as_code(code)) {
      keep_asked(found, seen);
    }
  }
}

}  // namespace polyrank

#endif
