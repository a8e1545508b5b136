#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <polyrank/virtual_gpu/attention.h>

#include <array>
#include <cmath>

namespace polyrank {

namespace {

constexpr std::int64_t kFlashAlignment = 8;  // of the head's size
constexpr std::int64_t kLargestFlashHead = 256;
constexpr std::int64_t kMaskAlignment = 16;  // of the mask's rows, in elements

bool needs_gradient(const sdp::sdp_params& call) {
  return at::GradMode::is_enabled() && sdp::input_requires_grad(call);
}

bool is_half(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16;
}

bool have_one_dtype(const sdp::sdp_params& call) {
  return call.query.scalar_type() == call.key.scalar_type() &&
         call.query.scalar_type() == call.value.scalar_type();
}

// What flash and efficient attention both ask for.
bool is_dense(const sdp::sdp_params& call, bool supports_gqa) {
  return sdp::check_tensor_shapes(call, false) && have_one_dtype(call) &&
         (supports_gqa ? sdp::check_batch_size_and_num_heads_dense<true>(call, false)
                       : sdp::check_batch_size_and_num_heads_dense<false>(call, false)) &&
         sdp::check_nonzero_sequence_lengths_dense(call, false) &&
         sdp::check_last_dim_stride_equals_1_dense<true>(call, false);
}

bool can_use_flash(const sdp::sdp_params& call) {
  const std::int64_t head = call.query.size(-1);
  const bool is_square = call.query.size(-2) == call.key.size(-2);
  return is_dense(call, /*supports_gqa=*/true) && is_half(call.query) && !call.attn_mask &&
         head == call.key.size(-1) && head == call.value.size(-1) && head <= kLargestFlashHead &&
         (!call.is_causal || is_square);
}

bool can_use_efficient(const sdp::sdp_params& call) {
  if (!is_dense(call, /*supports_gqa=*/false) || call.enable_gqa) {
    return false;
  }
  const bool is_single = call.query.scalar_type() == at::kFloat;
  const std::int64_t alignment = is_single ? 4 : kFlashAlignment;  // 16 bytes
  const bool is_aligned =
      call.query.size(-1) % alignment == 0 && call.value.size(-1) % alignment == 0;
  return (is_single || is_half(call.query)) && call.query.size(-1) == call.key.size(-1) &&
         is_aligned;
}

at::SDPBackend backend_of(const sdp::sdp_params& call) {
  at::Context& context = at::globalContext();
  for (const at::SDPBackend backend : context.sDPPriorityOrder()) {
    switch (backend) {
      case at::SDPBackend::flash_attention:
        if (context.userEnabledFlashSDP() && can_use_flash(call)) {
          return backend;
        }
        break;
      case at::SDPBackend::efficient_attention:
        if (context.userEnabledMemEfficientSDP() && can_use_efficient(call)) {
          return backend;
        }
        break;
      case at::SDPBackend::math:
        if (context.userEnabledMathSDP()) {
          return backend;
        }
        break;
      case at::SDPBackend::cudnn_attention: {
        sdp::sdp_params without_mask = call;
        without_mask.attn_mask.reset();
        if (context.userEnabledCuDNNSDP() && can_use_flash(without_mask)) {
          return backend;
        }
        break;
      }
      default:
        break;
    }
  }
  TORCH_CHECK(false, "No available kernel. Aborting execution.");
}

// Pads the last dimension up to a multiple of `alignment`.
at::Tensor padded(const at::Tensor& tensor, std::int64_t alignment) {
  const std::int64_t rest = tensor.size(-1) % alignment;
  return rest == 0 ? tensor : at::pad(tensor, {0, alignment - rest});
}

// A mask of what may be seen as a number that is added.
std::optional<at::Tensor> additive(const std::optional<at::Tensor>& mask, at::ScalarType dtype) {
  if (!mask || !mask->defined()) {
    return std::nullopt;
  }
  if (mask->scalar_type() != at::kBool) {
    return mask;
  }
  at::Tensor added = at::zeros_like(*mask, mask->options().dtype(dtype));
  added.masked_fill_(mask->logical_not(), -std::numeric_limits<double>::infinity());
  return added;
}

at::Tensor flash(const sdp::sdp_params& call, std::optional<double> scale) {
  const std::int64_t head = call.query.size(-1);
  const double factor = scale.value_or(1.0 / std::sqrt(static_cast<double>(head)));
  const at::Tensor output = std::get<0>(at::_scaled_dot_product_flash_attention(
      padded(call.query, kFlashAlignment), padded(call.key, kFlashAlignment),
      padded(call.value, kFlashAlignment), call.dropout, call.is_causal,
      /*return_debug_mask=*/false, factor));
  return output.size(-1) == head ? output : output.slice(-1, 0, head);
}

// Rows of a mask begin at 16 bytes' distance.
at::Tensor aligned_mask(const at::Tensor& mask, const sdp::sdp_params& call) {
  const std::int64_t columns = mask.size(-1);
  at::Tensor aligned = mask;
  if (columns % kMaskAlignment != 0) {
    aligned = padded(mask, kMaskAlignment).slice(-1, 0, columns);
  }
  return aligned.expand(
      {call.query.size(0), call.query.size(1), call.query.size(-2), call.key.size(-2)});
}

sdp::sdp_params call_of(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                        const std::optional<at::Tensor>& mask, double dropout, bool is_causal,
                        bool enable_gqa) {
  return {.query = query,
          .key = key,
          .value = value,
          .attn_mask = mask && mask->defined() ? mask : std::nullopt,
          .dropout = dropout,
          .is_causal = is_causal,
          .enable_gqa = enable_gqa};
}

}  // namespace

at::SDPBackend attention_kernel_of_cuda(const at::Tensor& query, const at::Tensor& key,
                                        const at::Tensor& value,
                                        const std::optional<at::Tensor>& mask, double dropout,
                                        bool is_causal, bool enable_gqa) {
  return backend_of(call_of(query, key, value, mask, dropout, is_causal, enable_gqa));
}

at::Tensor attention_as_on_cuda(const at::Tensor& query, const at::Tensor& key,
                                const at::Tensor& value, const std::optional<at::Tensor>& mask,
                                double dropout, bool is_causal, std::optional<double> scale,
                                bool enable_gqa) {
  TORCH_CHECK(!(is_causal && mask && mask->defined()),
              "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
              "is_causal=True");
  const sdp::sdp_params call = call_of(query, key, value, mask, dropout, is_causal, enable_gqa);
  const at::SDPBackend backend = backend_of(call);
  const auto added = additive(call.attn_mask, query.scalar_type());
  switch (backend) {
    case at::SDPBackend::flash_attention:
      return flash(call, scale);
    case at::SDPBackend::efficient_attention:
      return std::get<0>(at::_scaled_dot_product_efficient_attention(
          query, key, value, added ? std::optional(aligned_mask(*added, call)) : std::nullopt,
          needs_gradient(call), dropout, is_causal, scale));
    case at::SDPBackend::cudnn_attention:
      return std::get<0>(at::_scaled_dot_product_cudnn_attention(
          query, key, value, added, needs_gradient(call), dropout, is_causal,
          /*return_debug_mask=*/false, scale));
    default:
      return std::get<0>(at::_scaled_dot_product_attention_math(
          query, key, value, added, dropout, is_causal, std::nullopt, scale, enable_gqa));
  }
}

}  // namespace polyrank
