// Kernels at the dispatch key that every LocalTensor, and every tensor in a mode, meets first.
#pragma once

#include <ATen/core/boxing/BoxedKernel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/util/ArrayRef.h>
#include <torch/library.h>

#include <memory>
#include <utility>

namespace polyrank {

// NOTE [Kernels at the first key]
// PythonTLSSnapshot comes before autograd and before PyTorch takes composed operators apart.
// PyTorch has one fallback there for all operators, which goes on to the next key. An operator that
// must be seen whole gets a kernel of ours there, which ends in one of the calls below.
inline constexpr c10::DispatchKey kFirstKey = c10::DispatchKey::PythonTLSSnapshot;

// Goes on as if there were no kernel of ours.
void call_composed(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                   torch::jit::Stack* stack);

// Hands the operator to the engine whole: it runs each cohort's on plain tensors. Below autograd:
// no gradient goes through it.
void call_whole(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

// Whether the tensors among an operator's arguments are LocalTensors, or plain ones in a lockstep
// mode. Other modes and subclasses bring operators to the first key as well, and are to meet what
// PyTorch has there.
bool is_for_ranks(c10::ArrayRef<c10::IValue> arguments);

// A kernel for TORCH_LIBRARY_IMPL(aten, PythonTLSSnapshot, library).
template <class Kernel, class... Arguments>
torch::CppFunction first_key_kernel(Arguments&&... arguments) {
  return torch::CppFunction::makeFromBoxedKernel(c10::BoxedKernel::makeFromFunctor(
      std::make_unique<Kernel>(std::forward<Arguments>(arguments)...)));
}

}  // namespace polyrank
