// Collectives on meta tensors. PyTorch has Python kernels for most operators of c10d, which give a
// FakeWork; these are the others. They stand here because FakeWork's header needs Python.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <polyrank/exchange/collective_op.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/library.h>

#include <limits>
#include <torch/csrc/distributed/c10d/FakeProcessGroup.hpp>

namespace polyrank {

namespace {

// Nothing moves, and the Work is complete.
void return_fake_work(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  auto work = c10::make_intrusive<c10d::FakeWork>();
  work->seq_id = static_cast<int>(generate_unique_id() % std::numeric_limits<int>::max());
  torch::jit::drop(*stack, op.schema().arguments().size());
  stack->emplace_back(c10::intrusive_ptr<c10d::Work>(std::move(work)));
}

// A meta tensor has no NaN.
void return_nothing(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  torch::jit::drop(*stack, op.schema().arguments().size());
}

TORCH_LIBRARY_IMPL(c10d, Meta, library) {
  for (const char* name :
       {"allreduce_coalesced_", "allgather_coalesced_", "allgather_into_tensor_coalesced_",
        "reduce_scatter_tensor_coalesced_"}) {
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&return_fake_work>());
  }
  library.impl("check_for_nan", torch::CppFunction::makeFromBoxedFunction<&return_nothing>());
}

}  // namespace

}  // namespace polyrank
