// Attention as CUDA chooses it, for virtual GPUs without bytes.
#pragma once

#include <ATen/SDPBackend.h>
#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>

#include <optional>

namespace polyrank {

// The kernel that CUDA would take for such a call.
// Throws: c10::Error if there is none that the program allows.
POLYRANK_API at::SDPBackend attention_kernel_of_cuda(const at::Tensor& query, const at::Tensor& key,
                                                     const at::Tensor& value,
                                                     const std::optional<at::Tensor>& mask,
                                                     double dropout, bool is_causal,
                                                     bool enable_gqa);

// `scaled_dot_product_attention`, made of the kernel that CUDA would take: flash or efficient
// attention where they can, which keep no N x N matrix; else the plain product of matrices. The
// order is the program's (`sdpa_kernel`), the conditions are those of compute capability 8.0 and
// above. Source: scaled_dot_product_attention() of ATen/native/transformers/attention.cpp and
// can_use_*_attention() of ATen/native/transformers/cuda/sdp_utils.cpp, PyTorch 2.13.
// Left out: nested tensors, which can't be on a virtual GPU; cuDNN's conditions are taken for flash
// attention's, and a mask.
// Throws: as attention_kernel_of_cuda.
at::Tensor attention_as_on_cuda(const at::Tensor& query, const at::Tensor& key,
                                const at::Tensor& value, const std::optional<at::Tensor>& mask,
                                double dropout, bool is_causal, std::optional<double> scale,
                                bool enable_gqa);

}  // namespace polyrank
