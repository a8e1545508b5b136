#include <polyrank/virtual_gpu/operator_arguments.h>

namespace polyrank {

const c10::IValue* OperatorArguments::find(std::string_view name) const {
  const auto at = op_.schema().argumentIndexWithName(name);
  return at ? &torch::jit::peek(stack_, static_cast<std::size_t>(*at),
                                op_.schema().arguments().size())
            : nullptr;
}

at::Tensor OperatorArguments::tensor(std::string_view name) const {
  const c10::IValue* value = find(name);
  return value != nullptr && value->isTensor() ? value->toTensor() : at::Tensor();
}

std::vector<at::Tensor> OperatorArguments::tensors(std::string_view name) const {
  std::vector<at::Tensor> found;
  const c10::IValue* value = find(name);
  if (value != nullptr && value->isTensorList()) {
    found = value->toTensorVector();
  } else if (value != nullptr && value->isOptionalTensorList()) {
    for (const std::optional<at::Tensor>& tensor : value->toOptionalTensorVector()) {
      found.push_back(tensor.value_or(at::Tensor()));
    }
  }
  std::erase_if(found, [](const at::Tensor& tensor) { return !tensor.defined(); });
  return found;
}

bool OperatorArguments::flag(std::string_view name) const {
  const c10::IValue* value = find(name);
  return value != nullptr && value->isBool() && value->toBool();
}

std::optional<std::int64_t> OperatorArguments::integer(std::string_view name) const {
  const c10::IValue* value = find(name);
  return value != nullptr && value->isInt() ? std::optional(value->toInt()) : std::nullopt;
}

std::vector<std::int64_t> OperatorArguments::integers(std::string_view name) const {
  const c10::IValue* value = find(name);
  if (value != nullptr && value->isIntList()) {
    return value->toIntVector();
  }
  const std::optional<std::int64_t> one = integer(name);
  return one ? std::vector<std::int64_t>{*one} : std::vector<std::int64_t>{};
}

}  // namespace polyrank
