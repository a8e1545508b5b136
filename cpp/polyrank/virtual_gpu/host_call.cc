#include <ATen/core/List.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/interned.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/host_call.h>
#include <polyrank/virtual_gpu/pinned_memory.h>
#include <polyrank/virtual_gpu/storage.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace polyrank {

namespace {

// Operators whose operands may be on several devices, as CUDA's kernels allow it; of those that
// index, the indices may be the CPU's.
DeviceRule device_rule(const std::string& name) {
  static const std::unordered_map<std::string_view, DeviceRule> rules{
      {"aten::copy_", DeviceRule::kAny},
      {"aten::_copy_from", DeviceRule::kAny},
      {"aten::_copy_from_and_resize", DeviceRule::kAny},
      {"aten::_foreach_copy_", DeviceRule::kAny},
      {"aten::_to_copy", DeviceRule::kAny},
      {"aten::_pin_memory", DeviceRule::kNoGpu},
      {"aten::set_", DeviceRule::kAny},
      {"aten::resize_as_", DeviceRule::kAny},
      {"aten::_pack_padded_sequence", DeviceRule::kFirstOnGpu},
      {"aten::index", DeviceRule::kFirstOnGpu},
      {"aten::_unsafe_index", DeviceRule::kFirstOnGpu},
      {"aten::index_put", DeviceRule::kFirstOnGpu},
      {"aten::index_put_", DeviceRule::kFirstOnGpu},
      {"aten::_index_put_impl_", DeviceRule::kFirstOnGpu},
      {"aten::_unsafe_index_put", DeviceRule::kFirstOnGpu},
  };
  const auto found = rules.find(name);
  return found == rules.end() ? DeviceRule::kSame : found->second;
}

bool is_gpu(const at::Tensor& tensor) { return tensor.defined() && tensor.is_cuda(); }

}  // namespace

GpuOperator::GpuOperator(const c10::OperatorHandle& op)
    : name(interned(op.schema().name())),
      num_arguments(op.schema().arguments().size()),
      num_returns(op.schema().returns().size()) {
  const auto& arguments = op.schema().arguments();
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::AliasInfo* alias = arguments[i].alias_info();
    is_written.push_back(alias != nullptr && alias->isWrite());
    const auto optional = arguments[i].type()->cast<c10::OptionalType>();
    const c10::TypePtr type = optional ? optional->getElementType() : arguments[i].type();
    if (type->kind() == c10::TypeKind::GeneratorType) {
      generator_argument = static_cast<int>(i);
    } else if (type->kind() == c10::TypeKind::DeviceObjType) {
      device_argument = static_cast<int>(i);
    }
  }
  draws_without_one = generator_argument < 0 && op.hasTag(at::Tag::nondeterministic_seeded);
  devices = device_rule(op.schema().name());
  if (name == "aten::_to_copy") {
    pinning_argument = op.schema().argumentIndexWithName("non_blocking").value_or(-1);
  }
}

HostCall::HostCall(const c10::OperatorHandle& op, const GpuOperator& info, torch::jit::Stack* stack)
    : op_(op), info_(info), host_(gpus_have_bytes() ? c10::kCPU : c10::kMeta) {
  const std::size_t first = stack->size() - info.num_arguments;
  for (std::size_t i = 0; i < info.num_arguments; ++i) {
    to_host(&(*stack)[first + i], info.is_written[i]);
  }
  if (info.device_argument >= 0 && asked_for_ && asked_for_->is_cuda()) {
    (*stack)[first + static_cast<std::size_t>(info.device_argument)] = c10::Device(host_);
  }
  check_devices();
  pins_result_ = asked_for_ && asked_for_->is_cpu() && info.pinning_argument >= 0 &&
                 (*stack)[first + static_cast<std::size_t>(info.pinning_argument)].toBool();
  if (asked_for_ && asked_for_->is_cuda()) {
    gpu_ = asked_for_->has_index() ? asked_for_->index() : current_gpu();
  } else {
    gpu_ = gpu_of_operands_ ? gpu_of_operands_->index() : current_gpu();
  }
  if (!gpu_of_operands_ || *gpu_of_operands_ != c10::Device(c10::kCUDA, gpu_)) {
    check_gpu(gpu_);  // what lives on one may be read when they are off
  }
  if (info.generator_argument >= 0) {
    c10::IValue& generator = (*stack)[first + static_cast<std::size_t>(info.generator_argument)];
    check_generator(generator);
    const at::Generator given =
        generator.isNone() ? default_gpu_generator(gpu_) : generator.toGenerator();
    // Shape functions draw nothing.
    generator = has_bytes() ? c10::IValue(host_generator(given)) : c10::IValue();
  }
}

// A call comes here by its generator alone, too.
void HostCall::check_generator(const c10::IValue& generator) const {
  const bool draws_on_cpu = !gpu_of_operands_ && (!asked_for_ || asked_for_->is_cpu()) &&
                            (!first_device_ || first_device_->is_cpu());
  TORCH_CHECK(generator.isNone() || !draws_on_cpu,
              "Expected a 'cpu' device type for generator but found 'cuda'");
}

void HostCall::to_host(c10::IValue* value, bool is_written) {
  if (value->isTensor()) {
    const at::Tensor& tensor = value->toTensor();
    if (tensor.defined()) {
      *value = to_host(tensor, is_written);
    }
  } else if (value->isTensorList()) {
    c10::List<at::Tensor> host;
    for (const at::Tensor& tensor : value->toTensorVector()) {
      host.push_back(to_host(tensor, is_written));
    }
    *value = std::move(host);
  } else if (value->isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> host;
    for (const std::optional<at::Tensor>& tensor : value->toOptionalTensorVector()) {
      host.push_back(tensor && tensor->defined() ? std::optional(to_host(*tensor, is_written))
                                                 : tensor);
    }
    *value = std::move(host);
  } else if (value->isDevice()) {
    asked_for_ = value->toDevice();
  } else if (value->isStorage()) {
    const c10::Storage storage = value->toStorage();
    if (c10::StorageImpl* host = host_storage(*storage.unsafeGetStorageImpl())) {
      storages_.push_back(
          c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage.unsafeGetStorageImpl()));
      gpu_of_operands_ = storage.device();
      note_host(*host);
      *value = c10::Storage(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(host));
    }
  }
}

at::Tensor HostCall::to_host(const at::Tensor& tensor, bool is_written) {
  note_device(tensor, is_written);
  if (!is_gpu(tensor)) {
    return tensor;
  }
  operands_.push_back({tensor, host_tensor(tensor), is_written});
  note_host(*operands_.back().host.storage().unsafeGetStorageImpl());
  storages_.push_back(
      c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(tensor.storage().unsafeGetStorageImpl()));
  return operands_.back().host;
}

void HostCall::note_device(const at::Tensor& tensor, bool is_written) {
  if (!tensor.defined()) {
    return;
  }
  const c10::Device device = tensor.device();
  const bool is_number = device.is_cpu() && tensor.dim() == 0 && !is_written;
  if (device.is_cuda() && !gpu_of_operands_) {
    gpu_of_operands_ = device;
  } else if (device != gpu_of_operands_ && !is_number) {
    other_device_ = device;
  }
  if (!first_device_) {
    first_device_ = device;
  }
}

void HostCall::note_host(const c10::StorageImpl& host) {
  if (is_host_known_ && host.device_type() != host_) {
    throw UsageError(c10::str(op_.operator_name(),
                              ": one operand was made on a virtual GPU with bytes, another on one "
                              "without; keep their blocks apart"));
  }
  host_ = host.device_type();
  is_host_known_ = true;
}

void HostCall::check_devices() const {
  TORCH_CHECK(info_.devices != DeviceRule::kNoGpu || operands_.empty(), "cannot pin '",
              operands_.empty() ? "" : operands_[0].gpu.toString(),
              "' only dense CPU tensors can be pinned");
  if (!first_device_ || !other_device_ || !gpu_of_operands_ || info_.devices == DeviceRule::kAny) {
    return;
  }
  if (info_.devices == DeviceRule::kFirstOnGpu && other_device_->is_cpu()) {
    TORCH_CHECK(first_device_->is_cuda(),
                "indices should be either on cpu or on the same device as the indexed tensor (",
                first_device_->str(), ")");
    return;
  }
  refuse_two_devices(op_, *gpu_of_operands_, *other_device_);
}

void refuse_two_devices(const c10::OperatorHandle& op, c10::Device first, c10::Device second) {
  TORCH_CHECK(false,
              "Expected all tensors to be on the same device, but found at least two devices, ",
              first.str(), " and ", second.str(), "! (in ", op.schema().name(), ")");
}

void HostCall::take_back(torch::jit::Stack* stack) {
  for (const Operand& operand : operands_) {
    follow(operand);
  }
  if (!gpu_of_operands_ && !(asked_for_ && asked_for_->is_cuda())) {
    return;  // the parts of fake tensors, which are of device "meta" and say that they are CUDA's
  }
  const std::size_t first = stack->size() - info_.num_returns;
  for (std::size_t i = first; i < stack->size(); ++i) {
    to_gpu(&(*stack)[i]);
  }
}

void HostCall::follow(const Operand& operand) {
  follow_host(operand.gpu.storage().unsafeGetStorageImpl());
  if (!operand.is_written) {
    return;
  }
  c10::TensorImpl* gpu = operand.gpu.unsafeGetTensorImpl();
  const c10::TensorImpl* host = operand.host.unsafeGetTensorImpl();
  if (host_storage(*operand.gpu.storage().unsafeGetStorageImpl()) !=
      operand.host.storage().unsafeGetStorageImpl()) {
    gpu->set_storage_keep_dtype(c10::Storage(gpu_storage_of(operand.host)));
  }
  if (gpu->sizes() != host->sizes() || gpu->strides() != host->strides() ||
      gpu->storage_offset() != host->storage_offset()) {
    gpu->set_sizes_and_strides(host->sizes(), host->strides(), host->storage_offset());
  }
  if (operand.gpu.is_conj() != operand.host.is_conj()) {
    operand.gpu._set_conj(operand.host.is_conj());
  }
  if (operand.gpu.is_neg() != operand.host.is_neg()) {
    operand.gpu._set_neg(operand.host.is_neg());
  }
}

void HostCall::to_gpu(c10::IValue* value) {
  if (value->isTensor()) {
    if (value->toTensor().defined()) {
      *value = to_gpu(value->toTensor());
    }
  } else if (value->isTensorList()) {
    c10::List<at::Tensor> gpu;
    for (const at::Tensor& host : value->toTensorVector()) {
      gpu.push_back(host.defined() ? to_gpu(host) : host);
    }
    *value = std::move(gpu);
  }
}

at::Tensor HostCall::to_gpu(const at::Tensor& host) {
  for (const Operand& operand : operands_) {
    if (operand.host.is_same(host)) {
      return operand.gpu;
    }
  }
  if (host.device().type() != host_) {
    return host;  // an operand of another device, returned as it came, or what was asked for there
  }
  if (host.layout() != c10::kStrided) {
    throw UnsupportedOpError(c10::str(op_.operator_name(), ": ", host.layout(),
                                      " tensors can't live on a virtual GPU; move the operand to "
                                      "the CPU first"));
  }
  const bool is_operands = std::any_of(storages_.begin(), storages_.end(), [&](const auto& gpu) {
    return host_storage(*gpu) == host.storage().unsafeGetStorageImpl();
  });
  const bool stays = asked_for_ && !asked_for_->is_cuda() && !is_operands;
  if (stays && pins_result_) {
    pin_in_place(host.storage().unsafeGetStorageImpl());
  }
  return stays ? host : gpu_tensor(host, gpu_storage_of(host));
}

c10::intrusive_ptr<c10::StorageImpl> HostCall::gpu_storage_of(const at::Tensor& host) {
  c10::StorageImpl* storage = host.storage().unsafeGetStorageImpl();
  for (const auto& gpu : storages_) {
    if (host_storage(*gpu) == storage) {
      return gpu;
    }
  }
  storages_.push_back(
      make_gpu_storage(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage), gpu_));
  return storages_.back();
}

}  // namespace polyrank
