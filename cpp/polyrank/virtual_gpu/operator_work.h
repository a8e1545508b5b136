// What an operator has to do on a GPU, read off its operands and results.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/util/SmallVector.h>
#include <polyrank/timeline/kernel_time.h>
#include <polyrank/virtual_gpu/host_call.h>

#include <optional>
#include <string_view>

namespace polyrank {

// NOTE [What kernels have to do]
// Matmuls, convolutions and attention have FLOPs by their shapes. All else is bound by bytes: each
// operand is read once, each result and each operand that is written to is written once. So an
// operator that PyTorch has as one kernel counts its operands once, and what a fused operator keeps
// in registers is not counted. Operators that read or write a part of an operand are listed in
// operator_work.cc. Views and allocations run no kernel.
// Elementwise kernels of PyTorch load and store several elements at a time if all operands and
// results have one type, and lie in memory in one order without gaps (gpu_kernel_impl() in
// native/cuda/CUDALoops.cuh); with casts, broadcasts or other strides they go element by element.
// So do concatenations of tensors that have gaps, or another order than their sizes (cat_out_cuda()
// in native/cuda/Shape.cu).

// Shapes: of the host's operands, which have sizes and no bytes.
class OperatorWork {
 public:
  // Before the operator runs, with its arguments on top of `stack`.
  OperatorWork(const c10::OperatorHandle& op, const GpuOperator& info,
               const torch::jit::Stack& stack);

  // Of a copy between host and GPU, which is known before it runs; nothing of all else.
  std::optional<KernelWork> host_copy() const;

  // After it ran, with its results on top of `stack`; nothing if no kernel runs.
  std::optional<KernelWork> kernel(const torch::jit::Stack& stack) const;

  // The same of the kernel before it that fills new memory, as deterministic algorithms have it.
  std::optional<KernelWork> fill(const torch::jit::Stack& stack) const;

 private:
  struct Operand {
    at::Tensor tensor;
    std::size_t argument;
    bool is_written;
    bool is_read;
  };

  void take(const at::Tensor& tensor, std::size_t argument);
  const at::Tensor* operand(std::string_view argument) const;
  const at::Tensor& required(std::string_view argument) const;
  bool flag(std::string_view argument) const;
  double bytes(const torch::jit::Stack& stack) const;
  MemoryAccess access(const torch::jit::Stack& stack) const;
  bool is_vectorized(const torch::jit::Stack& stack) const;
  KernelWork matmul(const at::Tensor& left, const at::Tensor& right) const;
  KernelWork convolution(const torch::jit::Stack& stack) const;
  KernelWork attention() const;
  c10::SmallVector<at::Tensor, 4> new_results(const torch::jit::Stack& stack) const;

  const c10::OperatorHandle& op_;
  const GpuOperator& info_;
  c10::SmallVector<Operand, 4> operands_;
  c10::SmallVector<bool, 16> flags_;  // by argument: those that are True
  bool goes_to_cpu_ = false;
};

}  // namespace polyrank
