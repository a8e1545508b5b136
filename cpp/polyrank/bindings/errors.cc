#include <polyrank/allocator/caching_allocator.h>
#include <polyrank/bindings/bindings.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/local_number_ops.h>
#include <polyrank/matching/rank_turns.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <exception>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// Name of the class in polyrank.errors for a C++ error; derived classes first.
const char* python_name(const Error& error) {
  if (dynamic_cast<const DivisionByZeroError*>(&error) != nullptr) return "DivisionByZeroError";
  if (dynamic_cast<const UnknownOptionError*>(&error) != nullptr) return "UnknownOptionError";
  if (dynamic_cast<const UsageError*>(&error) != nullptr) return "UsageError";
  if (dynamic_cast<const UnsupportedOpError*>(&error) != nullptr) return "UnsupportedOpError";
  if (dynamic_cast<const DivergenceError*>(&error) != nullptr) return "DivergenceError";
  if (dynamic_cast<const CollectiveMismatchError*>(&error) != nullptr) {
    return "CollectiveMismatchError";
  }
  if (dynamic_cast<const DeadlockError*>(&error) != nullptr) return "DeadlockError";
  if (dynamic_cast<const CollectiveError*>(&error) != nullptr) return "CollectiveError";
  return "InternalError";
}

// Requires: the GIL is held.
void set_python_error(const Error& error) {
  if (dynamic_cast<const ThreadEnded*>(&error) != nullptr) {
    PyErr_SetNone(PyExc_SystemExit);  // which ends a thread without a word
    return;
  }
  const bool is_out_of_memory = dynamic_cast<const OutOfMemory*>(&error) != nullptr;
  const py::object type = is_out_of_memory
                              ? py::module_::import("torch").attr("OutOfMemoryError")
                              : py::module_::import("polyrank.errors").attr(python_name(error));
  // Made at once: errors that differ between ranks are followed from their making.
  PyErr_SetObject(type.ptr(), type(error.what()).ptr());
}

// Errors leave an operator through PyTorch's bindings, which know c10's errors and Python's: so
// ours become Python's where they leave the kernel.
void rethrow_as_python_error(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    const py::gil_scoped_acquire gil;
    set_python_error(error);
    python_error raised;
    raised.persist();
    throw raised;  // NOLINT: thrown by value of the persisted state, as PyTorch's own code does
  }
}

}  // namespace

void init_errors(py::module_& module) {
  module.def("is_in_torch_script", [] { return !torch::jit::currentCallstack().empty(); });
  interpreter_hooks().rethrow = &rethrow_as_python_error;
  // Not local to this module: PyTorch's own bindings call methods of our SymNodes.
  py::register_exception_translator([](std::exception_ptr exception) {
    try {
      if (exception) std::rethrow_exception(std::move(exception));
    } catch (const Error& error) {
      set_python_error(error);
    } catch (python_error& error) {
      error.restore();
    }
  });
}

}  // namespace polyrank
