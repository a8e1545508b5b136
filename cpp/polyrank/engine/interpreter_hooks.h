// What the engine asks of a Python interpreter, where the process has one.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/export.h>

#include <exception>
#include <functional>
#include <optional>

namespace polyrank {

// NOTE [No interpreter needed]
// The engine runs in C++ programs without Python. What it needs of an interpreter are these
// functions; the bindings set them when the Python package is imported, and until then each has
// the meaning that a program without Python gives it.
struct InterpreterHooks {
  // Gives a new LocalTensor its Python object, so that Python sees a `polyrank.LocalTensor`.
  // PyTorch would wrap it as a plain `torch.Tensor` later on.
  void (*make_python_object)(const at::Tensor& local_tensor) = nullptr;

  // Whether `tensor`, which carries the Python dispatch key and is no LocalTensor, must handle
  // operators itself (a DTensor, …), other than a FakeTensor, which can be a cohort's tensor.
  bool (*handles_operators_itself)(const at::Tensor& tensor) = nullptr;

  // The symbolic number that a wrapped-number tensor stands for. PyTorch's argument parser makes
  // a 0-dim placeholder of a SymInt or SymFloat operand and leaves the number in an attribute of
  // the placeholder's Python object.
  std::optional<c10::Scalar> (*wrapped_number)(const at::Tensor& tensor) = nullptr;

  // Whether the calling thread holds the interpreter's lock.
  bool (*holds_interpreter)() = nullptr;

  // Runs `wait`, which waits for another thread, without the interpreter's lock, whether the
  // calling thread holds it or not.
  void (*without_interpreter)(const std::function<void()>& wait) = nullptr;

  // Rethrows a polyrank::Error as an exception that PyTorch's bindings raise with its own type.
  void (*rethrow)(const std::exception_ptr& error) = nullptr;
};

// The hooks of this process. Set once, before any LocalTensor exists.
POLYRANK_API InterpreterHooks& interpreter_hooks() noexcept;

// Throws `error` as Python should see it. For code that PyTorch calls outside of our kernel, which
// translates what leaves it by itself.
template <class E>
[[noreturn]] void raise(E error) {
  if (interpreter_hooks().rethrow != nullptr) {
    interpreter_hooks().rethrow(std::make_exception_ptr(error));
  }
  throw error;
}

// Runs `f`, the body of what a backend, its Work or a store overrides. Errors leave c10d's
// operators through PyTorch's bindings; see InterpreterHooks.
template <class F>
auto translating_errors(const F& f) {
  try {
    return f();
  } catch (const Error&) {
    if (interpreter_hooks().rethrow != nullptr) {
      interpreter_hooks().rethrow(std::current_exception());
    }
    throw;
  }
}

}  // namespace polyrank
