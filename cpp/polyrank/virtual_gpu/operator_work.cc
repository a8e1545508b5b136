#include <ATen/Context.h>
#include <polyrank/virtual_gpu/operator_work.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace polyrank {

namespace {

using Names = std::unordered_set<std::string_view>;

constexpr double kMultiplyAndAdd = 2;
// Attention's products, each of the size of the scores: forward has two; backward has four, and the
// scores once more, which no kernel keeps.
constexpr double kForwardProducts = 2;
constexpr double kBackwardProducts = 5;
constexpr double kRecomputedProducts = 1;

bool is_host(const at::Tensor& tensor) { return tensor.is_cpu(); }

// Elements that are there: expanded dimensions are read once.
double bytes_of(const at::Tensor& tensor) {
  auto elements = static_cast<double>(tensor.element_size());
  for (std::int64_t i = 0; i < tensor.dim(); ++i) {
    elements *= tensor.stride(i) == 0 ? 1 : static_cast<double>(tensor.size(i));
  }
  return elements;
}

// Where the two matrices stand among the arguments.
struct Matrices {
  std::string_view left;
  std::string_view right;
};

const std::unordered_map<std::string_view, Matrices>& matmuls() {
  static const std::unordered_map<std::string_view, Matrices> operators{
      {"aten::mm", {"self", "mat2"}},
      {"aten::bmm", {"self", "mat2"}},
      {"aten::addmm", {"mat1", "mat2"}},
      {"aten::addmm_", {"mat1", "mat2"}},
      {"aten::_addmm_activation", {"mat1", "mat2"}},
      {"aten::baddbmm", {"batch1", "batch2"}},
      {"aten::baddbmm_", {"batch1", "batch2"}},
      {"aten::addbmm", {"batch1", "batch2"}},
      {"aten::_int_mm", {"self", "mat2"}},
      {"aten::_scaled_mm", {"self", "mat2"}},
      {"aten::_grouped_mm", {"self", "mat2"}},
      {"aten::_scaled_grouped_mm", {"self", "mat2"}},
  };
  return operators;
}

struct Attention {
  AttentionKernel kernel;
  bool is_backward;
  bool has_heads_first;  // [batch, head, sequence, size]; else sequence before head
};

const std::unordered_map<std::string_view, Attention>& attentions() {
  using enum AttentionKernel;
  static const std::unordered_map<std::string_view, Attention> operators{
      {"aten::_scaled_dot_product_flash_attention", {kFlash, false, true}},
      {"aten::_scaled_dot_product_flash_attention_backward", {kFlash, true, true}},
      {"aten::_scaled_dot_product_efficient_attention", {kEfficient, false, true}},
      {"aten::_scaled_dot_product_efficient_attention_backward", {kEfficient, true, true}},
      {"aten::_scaled_dot_product_cudnn_attention", {kCudnn, false, true}},
      {"aten::_scaled_dot_product_cudnn_attention_backward", {kCudnn, true, true}},
      {"aten::_flash_attention_forward", {kFlash, false, false}},
      {"aten::_flash_attention_backward", {kFlash, true, false}},
      {"aten::_efficient_attention_forward", {kEfficient, false, false}},
      {"aten::_efficient_attention_backward", {kEfficient, true, false}},
  };
  return operators;
}

bool is_convolution(std::string_view name) {
  static const Names names{"aten::convolution",         "aten::convolution_overrideable",
                           "aten::cudnn_convolution",   "aten::_slow_conv2d_forward",
                           "aten::slow_conv3d_forward", "aten::conv_depthwise3d",
                           "aten::_conv_depthwise2d"};
  return names.contains(name);
}

bool is_convolution_backward(std::string_view name) {
  static const Names names{"aten::convolution_backward", "aten::convolution_backward_overrideable"};
  return names.contains(name);
}

// They make or change a tensor without a kernel.
bool runs_no_kernel(const c10::OperatorHandle& op, std::string_view name) {
  static const Names names{"aten::set_",      "aten::resize_",           "aten::resize_as_",
                           "aten::empty",     "aten::empty_strided",     "aten::empty_like",
                           "aten::new_empty", "aten::new_empty_strided", "aten::empty_permuted"};
  return names.contains(name) || op.hasTag(at::Tag::inplace_view);
}

// They make their results by at::empty() and its likes, which alone fill what they make
// (fill_empty_deterministic_() in native/TensorFactories.h); most operators have other ways.
bool makes_by_empty(std::string_view name) {
  static const Names names{"aten::empty",
                           "aten::empty_strided",
                           "aten::empty_like",
                           "aten::new_empty",
                           "aten::new_empty_strided",
                           "aten::empty_permuted",
                           "aten::_to_copy",
                           "aten::clone",
                           "aten::_scaled_dot_product_flash_attention",
                           "aten::_scaled_dot_product_flash_attention_backward"};
  return names.contains(name);
}

bool is_copy(std::string_view name) {
  static const Names names{"aten::copy_", "aten::_to_copy", "aten::_foreach_copy_",
                           "aten::_copy_from", "aten::_copy_from_and_resize"};
  return names.contains(name);
}

// The operand that is written to is not read.
bool overwrites(std::string_view name) {
  static const Names names{"aten::zero_",         "aten::fill_",        "aten::copy_",
                           "aten::normal_",       "aten::uniform_",     "aten::random_",
                           "aten::bernoulli_",    "aten::exponential_", "aten::_foreach_copy_",
                           "aten::_foreach_zero_"};
  return names.contains(name);
}

// Only as much of the operand is read as is chosen: as much as the results have.
std::string_view chosen_from(std::string_view name) {
  static const std::unordered_map<std::string_view, std::string_view> operands{
      {"aten::embedding", "weight"}, {"aten::index_select", "self"},
      {"aten::gather", "self"},      {"aten::index", "self"},
      {"aten::take", "self"},        {"aten::_unsafe_index", "self"},
  };
  const auto found = operands.find(name);
  return found == operands.end() ? std::string_view() : found->second;
}

// Of `self` only as much is read and written as these operands have.
std::string_view written_by(std::string_view name) {
  static const std::unordered_map<std::string_view, std::string_view> operands{
      {"aten::index_put_", "values"}, {"aten::_index_put_impl_", "values"},
      {"aten::index_add_", "source"}, {"aten::index_copy_", "source"},
      {"aten::scatter_", "index"},    {"aten::scatter_add_", "src"},
      {"aten::index_fill_", "index"},
  };
  const auto found = operands.find(name);
  return found == operands.end() ? std::string_view() : found->second;
}

// An operand whose sizes alone matter, or of which next to nothing is read.
bool is_unread(std::string_view name, std::string_view argument) {
  static const std::unordered_map<std::string_view, std::string_view> operands{
      {"aten::nll_loss_forward", "self"},
      {"aten::nll_loss_backward", "self"},
      {"aten::nll_loss2d_forward", "self"},
      {"aten::nll_loss2d_backward", "self"},
  };
  const auto found = operands.find(name);
  return (found != operands.end() && found->second == argument) || name.ends_with("_like") ||
         name.starts_with("aten::new_");
}

MathType math_of(const at::Tensor& tensor) {
  if (tensor.element_size() == 1) {
    return MathType::kFp8;
  }
  switch (tensor.scalar_type()) {
    case at::kDouble:
    case at::kComplexDouble:
      return MathType::kFp64;
    case at::kHalf:
    case at::kBFloat16:
      return MathType::kHalf;
    default:
      return at::globalContext().float32MatmulPrecision() != at::Float32MatmulPrecision::HIGHEST
                 ? MathType::kTf32
                 : MathType::kFp32;
  }
}

}  // namespace

OperatorWork::OperatorWork(const c10::OperatorHandle& op, const GpuOperator& info,
                           const torch::jit::Stack& stack)
    : op_(op), info_(info), flags_(info.num_arguments, false) {
  for (std::size_t i = 0; i < info.num_arguments; ++i) {
    const c10::IValue& value = torch::jit::peek(stack, i, info.num_arguments);
    if (value.isTensor()) {
      take(value.toTensor(), i);
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) {
        take(tensor, i);
      }
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        take(tensor.value_or(at::Tensor()), i);
      }
    } else if (value.isBool()) {
      flags_[i] = value.toBool();
    } else if (value.isDevice()) {
      goes_to_cpu_ = value.toDevice().is_cpu();
    }
  }
}

void OperatorWork::take(const at::Tensor& tensor, std::size_t argument) {
  if (!tensor.defined()) {
    return;
  }
  const c10::Argument& declared = op_.schema().arguments()[argument];
  const bool is_written = info_.is_written[argument];
  const bool is_overwritten = is_written && (declared.is_out() || overwrites(info_.name));
  operands_.push_back({.tensor = tensor,
                       .argument = argument,
                       .is_written = is_written,
                       .is_read = !is_overwritten && !is_unread(info_.name, declared.name())});
}

const at::Tensor* OperatorWork::operand(std::string_view argument) const {
  const auto* const found = std::ranges::find_if(operands_, [&](const Operand& operand) {
    return op_.schema().arguments()[operand.argument].name() == argument;
  });
  return found == operands_.end() ? nullptr : &found->tensor;
}

const at::Tensor& OperatorWork::required(std::string_view argument) const {
  const at::Tensor* found = operand(argument);
  TORCH_CHECK(found != nullptr, info_.name, " was called without ", argument);
  return *found;
}

bool OperatorWork::flag(std::string_view argument) const {
  const auto at = op_.schema().argumentIndexWithName(argument);
  return at && flags_[static_cast<std::size_t>(*at)];
}

std::optional<KernelWork> OperatorWork::host_copy() const {
  if (!is_copy(info_.name)) {
    return std::nullopt;
  }
  double from_host = 0;
  double all = 0;
  bool has_host = goes_to_cpu_;
  bool has_gpu = false;
  bool is_to_host = goes_to_cpu_;
  for (const Operand& operand : operands_) {
    (is_host(operand.tensor) ? has_host : has_gpu) = true;
    is_to_host = is_to_host || (is_host(operand.tensor) && operand.is_written);
    const double size = bytes_of(operand.tensor);
    from_host += is_host(operand.tensor) ? size : 0;
    all += size;
  }
  if (!has_host || (!has_gpu && goes_to_cpu_)) {
    return std::nullopt;
  }
  return KernelWork{.kind = KernelKind::kHostCopy,
                    .bytes = from_host > 0 ? from_host : all,
                    .is_to_host = is_to_host};
}

c10::SmallVector<at::Tensor, 4> OperatorWork::new_results(const torch::jit::Stack& stack) const {
  c10::SmallVector<at::Tensor, 4> results;
  const auto add = [&](const at::Tensor& result) {
    const bool is_new = result.defined() && result.has_storage() && !is_host(result) &&
                        std::ranges::none_of(operands_, [&](const Operand& operand) {
                          return operand.tensor.has_storage() &&
                                 operand.tensor.storage().is_alias_of(result.storage());
                        });
    if (is_new) {
      results.push_back(result);
    }
  };
  const std::size_t count = std::min(info_.num_returns, stack.size());
  for (std::size_t i = 0; i < count; ++i) {
    const c10::IValue& value = torch::jit::peek(stack, i, count);
    if (value.isTensor()) {
      add(value.toTensor());
    } else if (value.isTensorList()) {
      for (const at::Tensor& result : value.toTensorVector()) {
        add(result);
      }
    }
  }
  return results;
}

double OperatorWork::bytes(const torch::jit::Stack& stack) const {
  double made = 0;
  for (const at::Tensor& result : new_results(stack)) {
    made += bytes_of(result);
  }
  const std::string_view chosen = chosen_from(info_.name);
  const std::string_view writer = written_by(info_.name);
  const at::Tensor* written = writer.empty() ? nullptr : operand(writer);
  double total = made;
  for (const Operand& operand : operands_) {
    if (is_host(operand.tensor)) {
      continue;  // a number
    }
    double size = bytes_of(operand.tensor);
    if (!chosen.empty() && op_.schema().arguments()[operand.argument].name() == chosen) {
      size = std::min(size, made);
    } else if (operand.is_written && written != nullptr) {
      size = std::min(size, bytes_of(*written));
    }
    total += (operand.is_read ? size : 0) + (operand.is_written ? size : 0);
  }
  return total;
}

std::optional<KernelWork> OperatorWork::fill(const torch::jit::Stack& stack) const {
  const at::Context& context = at::globalContext();
  if (!context.deterministicAlgorithms() || !context.deterministicFillUninitializedMemory() ||
      !makes_by_empty(info_.name)) {
    return std::nullopt;
  }
  KernelWork work;
  for (const at::Tensor& result : new_results(stack)) {
    work.bytes += bytes_of(result);
  }
  return work.bytes > 0 ? std::optional(work) : std::nullopt;
}

MemoryAccess OperatorWork::access(const torch::jit::Stack& stack) const {
  if (info_.name == "aten::cat") {
    const bool all_contiguous = std::ranges::all_of(
        operands_, [](const Operand& operand) { return operand.tensor.is_contiguous(); });
    return all_contiguous ? MemoryAccess::kVectorized : MemoryAccess::kConcatenation;
  }
  return is_vectorized(stack) ? MemoryAccess::kVectorized : MemoryAccess::kUnvectorized;
}

bool OperatorWork::is_vectorized(const torch::jit::Stack& stack) const {
  // Of lists each tensor lies for itself, and casts alone count.
  const bool has_lists = info_.name == "aten::_foreach_copy_" || info_.name == "aten::_chunk_cat";
  const bool is_elementwise = op_.hasTag(at::Tag::pointwise) || is_copy(info_.name) ||
                              info_.name == "aten::clone" || has_lists;
  if (!is_elementwise) {
    return true;
  }
  c10::SmallVector<at::Tensor, 4> tensors = new_results(stack);
  for (const Operand& operand : operands_) {
    if (!is_host(operand.tensor) && operand.tensor.numel() > 1) {
      tensors.push_back(operand.tensor);
    }
  }
  return std::ranges::all_of(tensors, [&](const at::Tensor& tensor) {
    const at::Tensor& first = tensors.front();
    const bool has_same_type = tensor.scalar_type() == first.scalar_type() ||
                               !tensor.is_floating_point() || !first.is_floating_point();
    const bool lies_alike =
        has_lists || (tensor.sizes() == first.sizes() && tensor.strides() == first.strides() &&
                      tensor.is_non_overlapping_and_dense());
    return has_same_type && lies_alike;
  });
}

std::optional<KernelWork> OperatorWork::kernel(const torch::jit::Stack& stack) const {
  if (runs_no_kernel(op_, info_.name)) {
    return std::nullopt;
  }
  const bool writes = std::ranges::any_of(
      operands_, [](const Operand& one) { return one.is_written && !is_host(one.tensor); });
  if (!writes && new_results(stack).empty()) {
    return std::nullopt;
  }
  KernelWork work;
  if (const auto found = matmuls().find(info_.name); found != matmuls().end()) {
    work = matmul(required(found->second.left), required(found->second.right));
  } else if (attentions().contains(info_.name)) {
    work = attention();
  } else if (is_convolution(info_.name) || is_convolution_backward(info_.name)) {
    work = convolution(stack);
  } else {
    work.access = access(stack);
  }
  work.bytes = bytes(stack);
  return work;
}

// Of matrices, batches of them, and groups that follow each other in the rows of one.
KernelWork OperatorWork::matmul(const at::Tensor& left, const at::Tensor& right) const {
  KernelWork work{.kind = KernelKind::kMatmul, .math = math_of(left)};
  work.m = left.size(-2);
  work.k = left.size(-1);
  work.n = right.size(-1);
  work.batch = left.dim() > 2 ? left.size(0) : 1;
  work.flops = kMultiplyAndAdd * static_cast<double>(work.batch) * static_cast<double>(work.m) *
               static_cast<double>(work.n) * static_cast<double>(work.k);
  return work;
}

// As the matmul that it is: pixels by channels.
KernelWork OperatorWork::convolution(const torch::jit::Stack& stack) const {
  const bool is_backward = is_convolution_backward(info_.name);
  const at::Tensor& weight = required("weight");
  const at::Tensor output = is_backward ? required("grad_output") : new_results(stack).front();
  const std::int64_t channels = std::max<std::int64_t>(weight.size(0), 1);
  KernelWork work{.kind = KernelKind::kMatmul, .math = math_of(weight)};
  work.batch = is_backward ? 2 : 1;  // the gradients of input and weight
  work.n = channels;
  work.m = output.numel() / channels;
  work.k = weight.numel() / channels;
  work.flops = kMultiplyAndAdd * static_cast<double>(work.batch) * static_cast<double>(work.m) *
               static_cast<double>(work.n) * static_cast<double>(work.k);
  return work;
}

KernelWork OperatorWork::attention() const {
  const Attention& info = attentions().at(info_.name);
  const at::Tensor& query = required("query");
  const at::Tensor& key = required("key");
  const at::Tensor& value = required("value");
  const bool has_batch = query.dim() > 3;  // else sequences are packed, and a batch is one
  const int sequence = info.has_heads_first || !has_batch ? -2 : -3;
  const int heads = info.has_heads_first ? -3 : -2;
  KernelWork work{.kind = KernelKind::kAttention, .math = math_of(query)};
  work.attention = info.kernel;
  work.is_backward = info.is_backward;
  work.is_causal = flag("is_causal");
  const std::int64_t num_queries = has_batch ? query.size(sequence) : query.size(0);
  work.sequence = has_batch ? key.size(sequence) : key.size(0);
  const double pairs = static_cast<double>(has_batch ? query.size(0) : 1) *
                       static_cast<double>(query.size(heads)) * static_cast<double>(num_queries) *
                       static_cast<double>(work.sequence);
  const auto sizes = static_cast<double>(query.size(-1) + value.size(-1));
  const double forward = kMultiplyAndAdd * pairs * sizes * (work.is_causal ? 0.5 : 1.0);
  work.flops = forward;
  if (info.is_backward) {
    work.flops *= kBackwardProducts / kForwardProducts;
    work.recomputed_flops = forward * kRecomputedProducts / kForwardProducts;
  }
  return work;
}

}  // namespace polyrank
