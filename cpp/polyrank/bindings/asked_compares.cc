#include <polyrank/bindings/asked_compares.h>

#include <bitset>
#include <cstddef>
#include <iterator>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// Of bytecode: an instruction is a byte that says what to do, and one that says it more closely.
constexpr std::size_t kNumBytes = 256;

// What a comparison for equality looks like in bytecode; never destroyed: code runs until the end.
struct Compares {
  unsigned char opcode = 0;
  std::bitset<kNumBytes> arguments;
  py::object others;  // the answer for all other instructions
};

Compares& compares() {
  static auto* const all = new Compares();
  return *all;
}

// `(code, offset)`, as sys.monitoring calls before an instruction. In C, as each comparison pays.
PyObject* before_instruction(PyObject* /*self*/, PyObject* const* args, Py_ssize_t num_args) {
  if (num_args != 2 || !PyCode_Check(args[0])) {
    PyErr_SetString(PyExc_TypeError, "needs a code object and an offset");
    return nullptr;
  }
  const Py_ssize_t offset = PyLong_AsSsize_t(*std::next(args));
  if (offset == -1 && PyErr_Occurred() != nullptr) {
    return nullptr;
  }
  const auto bytes = py::reinterpret_steal<py::object>(
      PyCode_GetCode(reinterpret_cast<PyCodeObject*>(args[0])));  // the code keeps it
  if (!bytes) {
    return nullptr;
  }
  if (offset < 0 || offset + 1 >= PyBytes_GET_SIZE(bytes.ptr())) {
    PyErr_SetString(PyExc_IndexError, "the code has no such instruction");
    return nullptr;
  }
  const char* const instruction = std::next(PyBytes_AS_STRING(bytes.ptr()), offset);
  const auto opcode = static_cast<unsigned char>(*instruction);
  const auto argument = static_cast<unsigned char>(*std::next(instruction));
  const bool is_compare = opcode == compares().opcode && compares().arguments.test(argument);
  return py::object(is_compare ? py::none() : compares().others).release().ptr();
}

}  // namespace

py::object instruction_callback(unsigned char opcode, const std::vector<unsigned char>& arguments,
                                py::object others) {
  static PyMethodDef definition{
      .ml_name = "before_instruction",
      .ml_meth = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&before_instruction)),
      .ml_flags = METH_FASTCALL,
      .ml_doc = nullptr};
  compares() = {.opcode = opcode, .arguments = {}, .others = std::move(others)};
  for (const unsigned char argument : arguments) {
    compares().arguments.set(argument);
  }
  return py::reinterpret_steal<py::object>(PyCFunction_New(&definition, nullptr));
}

}  // namespace polyrank
