#include <ATen/Functions.h>
#include <ATen/ops/_foreach_add.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/operator_work.h>

#include <optional>

namespace polyrank {
namespace {

at::Tensor meta(at::IntArrayRef sizes, at::ScalarType dtype = at::kBFloat16) {
  return at::empty(sizes, at::TensorOptions().device(c10::kMeta).dtype(dtype));
}

// What the operator's shape function is, and what OperatorWork makes of it.
std::optional<KernelWork> work_of(const char* name, const char* overload, torch::jit::Stack stack) {
  const c10::OperatorHandle op = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
  const GpuOperator info(op);
  const OperatorWork work(op, info, stack);
  op.callBoxed(stack);
  return work.kernel(stack);
}

// The same of an operator whose shape function is Python's, and is not there: results are given.
std::optional<KernelWork> work_of(const char* name, const torch::jit::Stack& arguments,
                                  const torch::jit::Stack& results) {
  const c10::OperatorHandle op = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  const GpuOperator info(op);
  return OperatorWork(op, info, arguments).kernel(results);
}

TEST(OperatorWork, AMatmulHasItsShape) {
  const auto work = work_of("aten::mm", "", {meta({128, 64}), meta({64, 256})});
  ASSERT_TRUE(work);
  EXPECT_EQ(work->kind, KernelKind::kMatmul);
  EXPECT_EQ(work->math, MathType::kHalf);
  EXPECT_EQ(work->m, 128);
  EXPECT_EQ(work->n, 256);
  EXPECT_EQ(work->k, 64);
  EXPECT_EQ(work->flops, 2.0 * 128 * 256 * 64);
  EXPECT_EQ(work->bytes, 2.0 * (128 * 64 + 64 * 256 + 128 * 256));
}

TEST(OperatorWork, BatchesAndBiases) {
  const auto batch = work_of("aten::bmm", "", {meta({3, 8, 16}), meta({3, 16, 32})});
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->batch, 3);
  EXPECT_EQ(batch->flops, 2.0 * 3 * 8 * 16 * 32);
  const auto biased = work_of(
      "aten::addmm", "",
      {meta({32}, at::kFloat), meta({8, 16}, at::kFloat), meta({16, 32}, at::kFloat), 1, 1});
  ASSERT_TRUE(biased);
  EXPECT_EQ(biased->flops, 2.0 * 8 * 16 * 32);
  EXPECT_EQ(biased->math, MathType::kFp32);
  EXPECT_EQ(biased->bytes, 4.0 * (32 + 8 * 16 + 16 * 32 + 8 * 32));
}

TEST(OperatorWork, ElementwiseKernelsWithCastsBroadcastsOrStridesAreNotVectorized) {
  const auto is_vectorized = [](const char* name, const char* overload, torch::jit::Stack stack) {
    return work_of(name, overload, std::move(stack)).value().access == MemoryAccess::kVectorized;
  };
  const at::Tensor half = meta({64, 64});
  const at::Tensor wide = meta({64, 64}, at::kFloat);
  EXPECT_TRUE(is_vectorized("aten::mul", "Tensor", {half, half}));
  EXPECT_TRUE(is_vectorized("aten::mul", "Tensor", {half.t(), half.t()}));  // in one order
  EXPECT_TRUE(is_vectorized("aten::mul", "Tensor", {half, meta({})}));      // a number
  EXPECT_TRUE(is_vectorized("aten::copy_", "", {half, half, false}));
  EXPECT_FALSE(is_vectorized("aten::mul", "Tensor", {half, wide}));
  EXPECT_FALSE(is_vectorized("aten::mul", "Tensor", {half, meta({64, 1})}));
  EXPECT_FALSE(is_vectorized("aten::mul", "Tensor", {half, half.t()}));
  EXPECT_FALSE(is_vectorized("aten::copy_", "", {half, wide, false}));
  // A sum is no elementwise kernel.
  EXPECT_TRUE(is_vectorized("aten::sum", "", {half, at::kFloat}));
}

TEST(OperatorWork, ConcatenationsOfTensorsWithStridesGoElementByElement) {
  const auto access = [](const at::Tensor& second) {
    const c10::List<at::Tensor> tensors({meta({8, 64}), second});
    return work_of("aten::cat", "", {tensors, 1}).value().access;
  };
  EXPECT_EQ(access(meta({8, 64})), MemoryAccess::kVectorized);
  EXPECT_EQ(access(meta({8, 128}).chunk(2, 1)[1]), MemoryAccess::kConcatenation);
  EXPECT_EQ(access(meta({64, 8}).t()), MemoryAccess::kConcatenation);
}

TEST(OperatorWork, DeterministicAlgorithmsFillWhatIsMadeByEmpty) {
  const auto filled = [](const char* name, const char* overload, torch::jit::Stack stack) {
    const c10::OperatorHandle op = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
    const GpuOperator info(op);
    const OperatorWork work(op, info, stack);
    op.callBoxed(stack);
    const auto fill = work.fill(stack);
    return fill ? fill->bytes : 0;
  };
  const torch::jit::Stack clone{meta({64, 64}), c10::IValue()};
  EXPECT_EQ(filled("aten::clone", "", clone), 0);
  at::globalContext().setDeterministicAlgorithms(true, false);
  EXPECT_EQ(filled("aten::clone", "", clone), 2.0 * 64 * 64);
  EXPECT_EQ(filled("aten::add", "Tensor", {meta({64, 64}), meta({64, 64}), 1}), 0);
  at::globalContext().setDeterministicAlgorithms(false, false);
}

TEST(OperatorWork, ElementsAreReadAndWrittenOnce) {
  const auto sum = work_of("aten::add", "Tensor", {meta({64, 64}), meta({64, 64}), 1});
  ASSERT_TRUE(sum);
  EXPECT_EQ(sum->kind, KernelKind::kMemory);
  EXPECT_EQ(sum->flops, 0);
  EXPECT_EQ(sum->bytes, 3.0 * 2 * 64 * 64);
  const auto expanded =
      work_of("aten::add", "Tensor", {meta({64, 64}), meta({1, 64}).expand({64, 64}), 1});
  EXPECT_EQ(expanded->bytes, 2.0 * (2 * 64 * 64 + 64));
  const auto in_place = work_of("aten::add_", "Tensor", {meta({64}), meta({64}), 1});
  EXPECT_EQ(in_place->bytes, 3.0 * 2 * 64);  // self is read and written
  EXPECT_EQ(work_of("aten::zero_", "", {meta({64})})->bytes, 2.0 * 64);
  EXPECT_EQ(work_of("aten::zeros_like", "",
                    {meta({64}), c10::IValue(), c10::IValue(), c10::IValue(), c10::IValue(),
                     c10::IValue()})
                ->bytes,
            2.0 * 64);
}

TEST(OperatorWork, ListsAreOneKernel) {
  const c10::List<at::Tensor> list({meta({8}), meta({4})});
  const auto work = work_of("aten::_foreach_add_", "Scalar", {list, 1});
  ASSERT_TRUE(work);
  EXPECT_EQ(work->bytes, 2.0 * 2 * 12);
}

TEST(OperatorWork, ViewsAndAllocationsRunNoKernel) {
  EXPECT_FALSE(work_of("aten::t", "", {meta({4, 8})}));
  EXPECT_FALSE(work_of("aten::view", "", {meta({4, 8}), std::vector<std::int64_t>{32}}));
  EXPECT_FALSE(work_of("aten::squeeze_", "", {meta({4, 1})}));
  EXPECT_FALSE(work_of(
      "aten::empty_like", "",
      {meta({4}), c10::IValue(), c10::IValue(), c10::IValue(), c10::IValue(), c10::IValue()}));
}

TEST(OperatorWork, AnEmbeddingReadsTheRowsThatAreChosen) {
  const auto work =
      work_of("aten::embedding", {meta({128'000, 64}), meta({10}, at::kLong), -1, false, false},
              {meta({10, 64})});
  ASSERT_TRUE(work);
  EXPECT_EQ(work->bytes, 2.0 * 2 * 10 * 64 + 8 * 10);
}

TEST(OperatorWork, AttentionSeesHalfOfTheKeysWhereItIsCausal) {
  const auto work = [](bool is_causal) {
    const at::Tensor query = meta({2, 8, 512, 64});
    const at::Tensor none = meta({0});
    return *work_of("aten::_scaled_dot_product_flash_attention",
                    {query, query, query, 0.0, is_causal, false, c10::IValue()},
                    {meta({2, 8, 512, 64}), none, none, none, 512, 512, none, none, none});
  };
  const double pairs = 2.0 * 8 * 512 * 512;
  EXPECT_EQ(work(false).kind, KernelKind::kAttention);
  EXPECT_EQ(work(false).flops, 2 * pairs * (64 + 64));
  EXPECT_EQ(work(true).flops, pairs * (64 + 64));
  EXPECT_TRUE(work(true).is_causal);
  EXPECT_EQ(work(true).sequence, 512);
}

TEST(OperatorWork, AConvolutionIsPixelsByChannels) {
  const std::vector<std::int64_t> one{1, 1};
  const std::vector<std::int64_t> none{0, 0};
  const auto work = work_of(
      "aten::convolution",
      {meta({2, 3, 34, 34}), meta({16, 3, 3, 3}), c10::IValue(), one, none, one, false, none, 1},
      {meta({2, 16, 32, 32})});
  ASSERT_TRUE(work);
  EXPECT_EQ(work->m, 2 * 32 * 32);
  EXPECT_EQ(work->n, 16);
  EXPECT_EQ(work->k, 27);
  EXPECT_EQ(work->flops, 2.0 * 2 * 32 * 32 * 16 * 27);
}

TEST(OperatorWork, CopiesBetweenHostAndGpuAreKnownBeforehand) {
  const c10::OperatorHandle op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::copy_", "");
  const GpuOperator info(op);
  const at::Tensor on_host = at::empty({64});
  const auto to_gpu = OperatorWork(op, info, {meta({64}, at::kFloat), on_host, false}).host_copy();
  ASSERT_TRUE(to_gpu);
  EXPECT_EQ(to_gpu->kind, KernelKind::kHostCopy);
  EXPECT_FALSE(to_gpu->is_to_host);
  const auto to_host = OperatorWork(op, info, {on_host, meta({64}, at::kFloat), false}).host_copy();
  ASSERT_TRUE(to_host);
  EXPECT_TRUE(to_host->is_to_host);
  EXPECT_EQ(to_gpu->bytes, 4.0 * 64);
  EXPECT_FALSE(OperatorWork(op, info, {meta({64}), meta({64}), false}).host_copy());
}

}  // namespace
}  // namespace polyrank
