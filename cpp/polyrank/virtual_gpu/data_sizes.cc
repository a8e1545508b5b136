#include <ATen/ExpandUtils.h>
#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/data_sizes.h>
#include <polyrank/virtual_gpu/reads.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace polyrank {

namespace {

using torch::jit::Stack;

at::Tensor meta(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::empty(sizes, at::TensorOptions().device(c10::kMeta).dtype(dtype));
}

at::Tensor tensor_at(const Stack& stack, std::size_t position, std::size_t num_arguments) {
  return torch::jit::peek(stack, position, num_arguments).toTensor();
}

bool flag_at(const Stack& stack, std::size_t position, std::size_t num_arguments) {
  return torch::jit::peek(stack, position, num_arguments).toBool();
}

void replace(Stack* stack, std::size_t num_arguments, std::vector<at::Tensor> results) {
  torch::jit::drop(*stack, num_arguments);
  for (at::Tensor& result : results) {
    stack->emplace_back(std::move(result));
  }
}

// As CUDA lays it out: one column after the other.
at::Tensor places_of_all(const at::Tensor& self) {
  return at::empty_strided({self.numel(), self.dim()}, {1, self.numel()},
                           self.options().dtype(at::kLong));
}

void nonzero(Stack* stack, std::size_t num_arguments) {
  replace(stack, num_arguments, {places_of_all(tensor_at(*stack, 0, num_arguments))});
}

// masked_select(self, mask)
void masked_select(Stack* stack, std::size_t num_arguments) {
  const at::Tensor self = tensor_at(*stack, 0, num_arguments);
  const auto sizes =
      at::infer_size_dimvector(self.sizes(), tensor_at(*stack, 1, num_arguments).sizes());
  replace(stack, num_arguments, {meta({c10::multiply_integers(sizes)}, self.scalar_type())});
}

// Of `num_elements` that are distinct: values, the place of each, how often each is there. What was
// not asked for is empty, as on CUDA.
std::vector<at::Tensor> distinct(at::Tensor values, at::IntArrayRef places, bool has_places,
                                 std::int64_t num_elements, bool has_counts) {
  return {std::move(values), meta(has_places ? places : at::IntArrayRef({0}), at::kLong),
          meta({has_counts ? num_elements : 0}, at::kLong)};
}

// _unique2(self, sorted, return_inverse, return_counts)
void unique(Stack* stack, std::size_t num_arguments) {
  const at::Tensor self = tensor_at(*stack, 0, num_arguments);
  replace(
      stack, num_arguments,
      distinct(meta({self.numel()}, self.scalar_type()), self.sizes(),
               flag_at(*stack, 2, num_arguments), self.numel(), flag_at(*stack, 3, num_arguments)));
}

// unique_consecutive(self, return_inverse, return_counts, dim)
void unique_consecutive(Stack* stack, std::size_t num_arguments) {
  const at::Tensor self = tensor_at(*stack, 0, num_arguments);
  const bool has_places = flag_at(*stack, 1, num_arguments);
  const bool has_counts = flag_at(*stack, 2, num_arguments);
  const c10::IValue& dim = torch::jit::peek(*stack, 3, num_arguments);
  if (dim.isNone()) {
    replace(stack, num_arguments,
            distinct(meta({self.numel()}, self.scalar_type()), self.sizes(), has_places,
                     self.numel(), has_counts));
  } else {
    const std::int64_t size = self.size(dim.toInt());
    replace(stack, num_arguments,
            distinct(meta(self.sizes(), self.scalar_type()), {size}, has_places, size, has_counts));
  }
}

// What the counts of bincount are: the weights' sums, or numbers of elements.
at::ScalarType dtype_of_counts(const c10::IValue& weights) {
  if (!weights.isTensor() || !weights.toTensor().defined()) {
    return at::kLong;
  }
  return weights.toTensor().scalar_type() == at::kFloat ? at::kFloat : at::kDouble;
}

// bincount(self, weights, minlength), with a length
void bincount(Stack* stack, std::size_t num_arguments) {
  const at::ScalarType counts = dtype_of_counts(torch::jit::peek(*stack, 1, num_arguments));
  replace(stack, num_arguments,
          {meta({torch::jit::peek(*stack, 2, num_arguments).toInt()}, counts)});
}

constexpr std::string_view kAllAreChosen = "every element is chosen";

struct LargestSize {
  void (*make_results)(Stack*, std::size_t);
  std::string_view assumed = kAllAreChosen;
};

// Null: there is no largest size.
const LargestSize* largest_size(const c10::OperatorHandle& op, std::size_t num_arguments,
                                const Stack& stack) {
  static const std::unordered_map<std::string_view, LargestSize> table{
      {"aten::nonzero", {&nonzero}},
      {"aten::masked_select", {&masked_select}},
      {"aten::_unique2", {&unique}},
      {"aten::unique_consecutive", {&unique_consecutive}},
      {"aten::bincount", {&bincount, "all numbers are below minlength"}},
  };
  const auto found = table.find(op.schema().name());
  if (found == table.end() || !op.schema().overload_name().empty()) {
    return nullptr;
  }
  const bool has_none = op.schema().name() == "aten::bincount" &&
                        torch::jit::peek(stack, 2, num_arguments).toInt() == 0;
  return has_none ? nullptr : &found->second;
}

bool is_mask(const at::Tensor& tensor) {
  return tensor.defined() &&
         (tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte);
}

bool indexes(const c10::OperatorHandle& op) {
  return op.schema().name() == "aten::index" || op.schema().name() == "aten::_unsafe_index";
}

// A mask stands for the places of all its elements: an index for each of its dimensions.
void index_by_places(const c10::OperatorHandle& op, Stack* stack, std::size_t num_arguments) {
  c10::IValue& indices = torch::jit::peek(*stack, 1, num_arguments);
  c10::List<std::optional<at::Tensor>> places;
  for (const std::optional<at::Tensor>& index : indices.toOptionalTensorVector()) {
    if (!index || !is_mask(*index)) {
      places.push_back(index);
      continue;
    }
    for (const at::Tensor& column : places_of_all(*index).unbind(1)) {
      places.push_back(column);
    }
  }
  indices = std::move(places);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::Meta), stack);
}

// Those that carry the tag, with sizes that are known: by numbers of the call, or a mask that is
// none.
bool is_known(const c10::OperatorHandle& op, std::size_t num_arguments, const Stack& stack) {
  const std::string& name = op.schema().name();
  if (name == "aten::_ctc_loss") {
    return op.schema().overload_name().empty();  // lengths are lists of numbers
  }
  if (name == "aten::repeat_interleave") {
    return !torch::jit::peek(stack, num_arguments - 1, num_arguments).isNone();  // output_size
  }
  if (!indexes(op)) {
    return false;
  }
  const auto indices = torch::jit::peek(stack, 1, num_arguments).toOptionalTensorVector();
  return std::none_of(indices.begin(), indices.end(),
                      [](const auto& index) { return index && is_mask(*index); });
}

}  // namespace

bool has_size_of_data(const c10::OperatorHandle& op, std::size_t num_arguments,
                      const Stack& stack) {
  return op.hasTag(at::Tag::dynamic_output_shape) && !is_known(op, num_arguments, stack);
}

void call_with_largest_size(const c10::OperatorHandle& op, std::size_t num_arguments,
                            Stack* stack) {
  const LargestSize* own = largest_size(op, num_arguments, *stack);
  if (own == nullptr && !indexes(op)) {
    throw UnsupportedOpError(
        c10::str(op.operator_name(),
                 ": its result has as many elements as the data says, which a virtual GPU without "
                 "bytes has not, and there is no largest size to take. Give it the size, if it "
                 "takes one, or compute it on the CPU."));
  }
  note_read(op.schema().name().substr(op.schema().name().find("::") + 2) + "()",
            std::string(own == nullptr ? kAllAreChosen : own->assumed));
  if (own != nullptr) {
    own->make_results(stack, num_arguments);
  } else {
    index_by_places(op, stack, num_arguments);
  }
}

}  // namespace polyrank
