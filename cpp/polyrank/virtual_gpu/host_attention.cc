#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <polyrank/virtual_gpu/host_kernel_table.h>

#include <array>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>

namespace polyrank {

namespace {

using at::Tensor;
using Mask = std::optional<Tensor>;
using Scale = std::optional<double>;
using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;
// As flash and cuDNN attention return: output, logsumexp, cumulated lengths of queries and keys,
// longest query and key, two numbers of the random stream, the mask for debugging.
using Nine =
    std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor>;

constexpr std::int64_t kRowsOfEfficient = 32;  // its logsumexp has a multiple of them

struct Attended {
  Tensor output;
  Tensor logsumexp;  // float32 [batch, heads, length of queries]
};

// The CPU's flash attention computes the same, with the same logsumexp, by which parts of it are
// merged (ring attention).
// Shapes: query [batch, heads, length, size of a head]; keys may have fewer heads.
Attended attend(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask,
                double dropout, bool is_causal, Scale scale) {
  TORCH_CHECK_NOT_IMPLEMENTED(dropout == 0,
                              "attention by a kernel for GPUs drops nothing on a virtual GPU, "
                              "where dropout_p is ",
                              dropout, ": dropout_p=0 runs");
  auto [output, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(
      query, key, value, dropout, is_causal, mask, scale);
  return {std::move(output), logsumexp.contiguous()};
}

Three gradients(const Tensor& gradient, const Tensor& query, const Tensor& key, const Tensor& value,
                const Mask& mask, const Tensor& output, const Tensor& logsumexp, bool is_causal,
                Scale scale) {
  return at::_scaled_dot_product_flash_attention_for_cpu_backward(
      gradient, query, key, value, output, logsumexp, /*dropout_p=*/0, is_causal, mask, scale);
}

// Where lengths differ, flash attention's causal mask ends at the last key and not at the diagonal,
// as the CPU's does.
void check_causal(const Tensor& query, const Tensor& key, bool is_causal) {
  TORCH_CHECK_NOT_IMPLEMENTED(!is_causal || query.size(2) == key.size(2),
                              "causal attention by a kernel for GPUs takes as many queries as keys "
                              "on a virtual GPU, not ",
                              query.size(2), " and ", key.size(2));
}

Mask mask_or_none(const Tensor& mask) { return mask.defined() ? Mask(mask) : std::nullopt; }

Tensor number(const Tensor& like) { return at::zeros({}, like.options().dtype(at::kLong)); }

Nine flash(const Tensor& query, const Tensor& key, const Tensor& value, double dropout,
           bool is_causal, bool /*return_debug_mask*/, Scale scale) {
  check_causal(query, key, is_causal);
  const Attended attended = attend(query, key, value, std::nullopt, dropout, is_causal, scale);
  return {attended.output,
          attended.logsumexp,
          Tensor(),
          Tensor(),
          query.sym_size(2),
          key.sym_size(2),
          at::zeros({2}, query.options().dtype(at::kUInt64)),
          at::zeros({}, query.options().dtype(at::kUInt64)),
          at::empty({0}, query.options())};
}

Three flash_backward(const Tensor& gradient, const Tensor& query, const Tensor& key,
                     const Tensor& value, const Tensor& output, const Tensor& logsumexp,
                     const Tensor& /*cum_seq_q*/, const Tensor& /*cum_seq_k*/,
                     const c10::SymInt& /*max_q*/, const c10::SymInt& /*max_k*/, double /*dropout*/,
                     bool is_causal, const Tensor& /*philox_seed*/, const Tensor& /*philox_offset*/,
                     Scale scale) {
  return gradients(gradient, query, key, value, std::nullopt, output, logsumexp, is_causal, scale);
}

Four efficient(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask,
               bool compute_logsumexp, double dropout, bool is_causal, Scale scale) {
  const Attended attended = attend(query, key, value, mask, dropout, is_causal, scale);
  const std::int64_t length = query.size(2);
  const std::int64_t rest = (kRowsOfEfficient - length % kRowsOfEfficient) % kRowsOfEfficient;
  const Tensor logsumexp = compute_logsumexp ? at::pad(attended.logsumexp, {0, rest})
                                             : attended.logsumexp.slice(2, 0, 0);
  return {attended.output, logsumexp, number(query), number(query)};
}

Four efficient_backward(const Tensor& gradient, const Tensor& query, const Tensor& key,
                        const Tensor& value, const Tensor& mask, const Tensor& output,
                        const Tensor& logsumexp, const Tensor& /*philox_seed*/,
                        const Tensor& /*philox_offset*/, double /*dropout*/,
                        std::array<bool, 4> wanted, bool is_causal, Scale scale) {
  TORCH_CHECK_NOT_IMPLEMENTED(!wanted[3],
                              "the gradient of a mask of efficient attention is not computed on a "
                              "virtual GPU: take the math kernel (torch.nn.attention.sdpa_kernel)");
  const Tensor rows = logsumexp.slice(2, 0, query.size(2));
  auto [of_query, of_key, of_value] =
      gradients(gradient, query, key, value, mask_or_none(mask), output, rows, is_causal, scale);
  return {of_query, of_key, of_value, Tensor()};
}

Nine cudnn(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask,
           bool /*compute_logsumexp*/, double dropout, bool is_causal, bool /*return_debug_mask*/,
           Scale scale) {
  check_causal(query, key, is_causal);
  const Attended attended = attend(query, key, value, mask, dropout, is_causal, scale);
  return {attended.output,   attended.logsumexp.unsqueeze(-1),
          Tensor(),          Tensor(),
          query.sym_size(2), key.sym_size(2),
          number(query),     number(query),
          Tensor()};
}

Three cudnn_backward(const Tensor& gradient, const Tensor& query, const Tensor& key,
                     const Tensor& value, const Tensor& output, const Tensor& logsumexp,
                     const Tensor& /*philox_seed*/, const Tensor& /*philox_offset*/,
                     const Tensor& mask, const Tensor& /*cum_seq_q*/, const Tensor& /*cum_seq_k*/,
                     const c10::SymInt& /*max_q*/, const c10::SymInt& /*max_k*/, double /*dropout*/,
                     bool is_causal, Scale scale) {
  return gradients(gradient, query, key, value, mask_or_none(mask), output, logsumexp.squeeze(-1),
                   is_causal, scale);
}

}  // namespace

HostKernels host_attention() {
  return {
      {{"aten::_scaled_dot_product_flash_attention", ""}, host_kernel<&flash>()},
      {{"aten::_scaled_dot_product_flash_attention_backward", ""}, host_kernel<&flash_backward>()},
      {{"aten::_scaled_dot_product_efficient_attention", ""}, host_kernel<&efficient>()},
      {{"aten::_scaled_dot_product_efficient_attention_backward", ""},
       host_kernel<&efficient_backward>()},
      {{"aten::_scaled_dot_product_cudnn_attention", ""}, host_kernel<&cudnn>()},
      {{"aten::_scaled_dot_product_cudnn_attention_backward", ""}, host_kernel<&cudnn_backward>()}};
}

}  // namespace polyrank
