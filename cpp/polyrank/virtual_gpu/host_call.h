// One operator's arguments on their way to the host's kernel, and its results on their way back.
// The host is the CPU, or "meta" for GPUs without bytes.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/util/SmallVector.h>
#include <polyrank/virtual_gpu/storage.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace polyrank {

// Where the operands of an operator may be; a number (0-dim) that is only read may be the CPU's.
enum class DeviceRule : std::uint8_t {
  kSame,        // all on one GPU
  kFirstOnGpu,  // the first one on a GPU, the others there or on the CPU
  kAny,
  kNoGpu  // all on the CPU
};

// Throws: c10::Error, in PyTorch's words.
[[noreturn]] void refuse_two_devices(const c10::OperatorHandle& op, c10::Device first,
                                     c10::Device second);

// Facts of an operator, read off its schema once.
struct GpuOperator {
  explicit GpuOperator(const c10::OperatorHandle& op);

  std::string_view name;  // "aten::mm"; lives as long as the process
  std::size_t num_arguments;
  std::size_t num_returns;
  std::vector<bool> is_written;    // per argument
  int generator_argument = -1;     // position, or -1
  int device_argument = -1;        // position, or -1
  bool draws_without_one = false;  // random, and takes no generator
  int pinning_argument = -1;  // position of `non_blocking`, by which a copy to the CPU is pinned
  DeviceRule devices = DeviceRule::kSame;
};

// Shapes: of the stack's top num_arguments values, then num_returns.
class HostCall {
 public:
  // Replaces the arguments on top of `stack` by the host's.
  // Throws: c10::Error if the operands are on different devices; UsageError if some have bytes and
  // others have not.
  HostCall(const c10::OperatorHandle& op, const GpuOperator& info, torch::jit::Stack* stack);

  // Replaces the results on top of `stack` by the GPU's; operands that were resized follow.
  void take_back(torch::jit::Stack* stack);

  // The GPU that the call runs on.
  c10::DeviceIndex gpu() const noexcept { return gpu_; }

  // Where its kernel is found.
  c10::DispatchKey host_key() const noexcept { return dispatch_key_of(host_); }
  bool has_bytes() const noexcept { return host_ != c10::kMeta; }

 private:
  struct Operand {
    at::Tensor gpu;
    at::Tensor host;
    bool is_written;
  };

  void to_host(c10::IValue* value, bool is_written);
  at::Tensor to_host(const at::Tensor& tensor, bool is_written);
  void note_device(const at::Tensor& tensor, bool is_written);
  void note_host(const c10::StorageImpl& host);
  void check_generator(const c10::IValue& generator) const;
  void check_devices() const;
  void to_gpu(c10::IValue* value);
  at::Tensor to_gpu(const at::Tensor& host);
  c10::intrusive_ptr<c10::StorageImpl> gpu_storage_of(const at::Tensor& host);
  void follow(const Operand& operand);

  const c10::OperatorHandle& op_;
  const GpuOperator& info_;
  c10::SmallVector<Operand, 4> operands_;
  // Storages on the GPU by their host storages, of operands and of what was made.
  c10::SmallVector<c10::intrusive_ptr<c10::StorageImpl>, 4> storages_;
  std::optional<c10::Device> asked_for_;        // the argument
  std::optional<c10::Device> first_device_;     // of the first operand
  std::optional<c10::Device> gpu_of_operands_;  // of the first one that is on a GPU
  std::optional<c10::Device> other_device_;     // of one that is elsewhere
  c10::DeviceIndex gpu_ = 0;
  c10::DeviceType host_;
  bool pins_result_ = false;    // a copy to the CPU that need not be awaited is in pinned memory
  bool is_host_known_ = false;  // by an operand; else it is that of GPUs that are on
};

}  // namespace polyrank
