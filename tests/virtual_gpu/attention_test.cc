#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/attention.h>

#include <string>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

at::Tensor heads(std::int64_t num_heads, at::ScalarType dtype, std::int64_t size = 64,
                 std::int64_t length = 128) {
  return at::empty({1, num_heads, length, size}, on_gpu().dtype(dtype));
}

struct Call {
  at::Tensor query;
  at::Tensor key;
  std::optional<at::Tensor> mask = std::nullopt;
  bool is_causal = false;
  bool enable_gqa = false;
};

// The kernel that is chosen.
std::string chosen(const Call& call) {
  switch (attention_kernel_of_cuda(call.query, call.key, call.key, call.mask, 0, call.is_causal,
                                   call.enable_gqa)) {
    case at::SDPBackend::flash_attention:
      return "flash";
    case at::SDPBackend::efficient_attention:
      return "efficient";
    case at::SDPBackend::cudnn_attention:
      return "cudnn";
    default:
      return "math";
  }
}

TEST(Attention, FlashTakesHalvesWithoutAMask) {
  const GpusWithoutBytesOn on;
  const at::Tensor q = heads(8, at::kBFloat16);
  EXPECT_EQ(chosen({q, q}), "flash");
  EXPECT_EQ(chosen({.query = q, .key = q, .is_causal = true}), "flash");
  EXPECT_EQ(chosen({.query = q, .key = heads(2, at::kBFloat16), .enable_gqa = true}), "flash");
  EXPECT_EQ(chosen({heads(8, at::kHalf, 60), heads(8, at::kHalf, 60)}), "flash");  // is padded
}

TEST(Attention, EfficientTakesMasksAndFloats) {
  const GpusWithoutBytesOn on;
  const at::Tensor q = heads(8, at::kBFloat16);
  const at::Tensor mask = at::empty({128, 128}, on_gpu().dtype(at::kBool));
  EXPECT_EQ(chosen({q, q, mask}), "efficient");
  EXPECT_EQ(chosen({heads(8, at::kFloat), heads(8, at::kFloat)}), "efficient");
  const at::Tensor longer = heads(8, at::kBFloat16, 64, 256);
  EXPECT_EQ(chosen({.query = q, .key = longer, .is_causal = true}), "efficient");
  EXPECT_EQ(chosen({heads(8, at::kHalf, 264), heads(8, at::kHalf, 264)}), "efficient");
}

TEST(Attention, TheRestIsTheProductOfMatrices) {
  const GpusWithoutBytesOn on;
  EXPECT_EQ(chosen({heads(8, at::kDouble), heads(8, at::kDouble)}), "math");
  EXPECT_EQ(chosen({heads(8, at::kFloat, 62), heads(8, at::kFloat, 62)}), "math");
  const at::Tensor q = heads(8, at::kFloat);
  EXPECT_EQ(chosen({.query = q, .key = heads(2, at::kFloat), .enable_gqa = true}), "math");
}

TEST(Attention, TheProgramsChoiceCounts) {
  const GpusWithoutBytesOn on;
  const at::Tensor q = heads(8, at::kBFloat16);
  at::Context& context = at::globalContext();
  context.setSDPUseFlash(false);
  EXPECT_EQ(chosen({q, q}), "efficient");
  context.setSDPUseMemEfficient(false);
  EXPECT_EQ(chosen({q, q}), "math");
  context.setSDPUseMath(false);
  EXPECT_EQ(chosen({q, q}), "cudnn");
  context.setSDPUseCuDNN(false);
  EXPECT_THROW(chosen({q, q}), c10::Error);
  context.setSDPUseCuDNN(true);
  context.setSDPUseFlash(true);
  context.setSDPUseMemEfficient(true);
  context.setSDPUseMath(true);
}

TEST(Attention, AMaskAndACausalOneExcludeEachOther) {
  const GpusWithoutBytesOn on;
  const at::Tensor q = heads(8, at::kBFloat16);
  EXPECT_THROW(
      attention_as_on_cuda(q, q, q, at::empty({128, 128}, on_gpu()), 0, true, std::nullopt, false),
      c10::Error);
}

}  // namespace
}  // namespace polyrank
