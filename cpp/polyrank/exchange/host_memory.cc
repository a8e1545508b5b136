#include <c10/core/DispatchKey.h>
#include <polyrank/exchange/host_memory.h>
#include <polyrank/exchange/reduction.h>

#include <atomic>
#include <unordered_map>
#include <vector>

namespace polyrank {

namespace {

std::atomic<HostTensorOf> host_tensor_of_cuda{nullptr};

}  // namespace

void set_host_memory_of_cuda(HostTensorOf host_tensor_of) { host_tensor_of_cuda = host_tensor_of; }

bool cuda_is_in_host_memory() noexcept { return host_tensor_of_cuda != nullptr; }

at::Tensor in_host_memory(const at::Tensor& tensor) {
  const HostTensorOf host_tensor_of = host_tensor_of_cuda;
  const bool is_moved = host_tensor_of != nullptr && tensor.defined() &&
                        tensor.key_set().has(c10::DispatchKey::CUDA) && holds_values(tensor);
  return is_moved ? host_tensor_of(tensor) : tensor;
}

void move_to_host_memory(CollectiveCall* call) {
  std::unordered_map<const c10::TensorImpl*, at::Tensor> moved;
  const auto move = [&](at::Tensor& tensor) {
    at::Tensor& host = moved[tensor.unsafeGetTensorImpl()];
    if (!host.defined()) {
      host = in_host_memory(tensor);
    }
    tensor = host;
  };
  // Addresses stand for tensors: all stay alive meanwhile, in `given`.
  std::vector<at::Tensor> given = call->tensors();
  given.push_back(call->premul_factor);
  for (CollectiveUnit& unit : call->units) {
    for (at::Tensor& input : unit.inputs) {
      move(input);
    }
    for (at::Tensor& output : unit.outputs) {
      move(output);
    }
  }
  move(call->premul_factor);
}

}  // namespace polyrank
