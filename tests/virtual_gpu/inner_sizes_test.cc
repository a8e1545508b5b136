#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/inner_memory.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

// What the operator of that name takes for itself when it is called with those arguments.
PieceSizes pieces_of(const char* name, const torch::jit::Stack& stack, const char* overload = "") {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
  const InnerMemory* row = inner_memory_of(name);
  EXPECT_NE(row, nullptr) << name;
  return row->pieces(OperatorArguments(op, stack));
}

at::Tensor meta(at::IntArrayRef sizes, at::ScalarType dtype = at::kFloat) {
  return at::empty(sizes, at::TensorOptions().device(c10::kMeta).dtype(dtype));
}

TEST(InnerSizes, MatricesThatBlasDoesNotTakeAreCopied) {
  const at::Tensor whole = meta({64, 32});
  EXPECT_TRUE(pieces_of("aten::mm", {whole, meta({16, 32}).t()}).empty());
  const at::Tensor with_gaps = meta({64, 100}).slice(1, 0, 32);
  EXPECT_TRUE(pieces_of("aten::mm", {with_gaps, meta({32, 16})}).empty());
  const at::Tensor every_second = meta({64, 64}).slice(1, 0, 64, 2);
  EXPECT_EQ(pieces_of("aten::mm", {every_second, meta({32, 16})}), PieceSizes{64 * 32 * 4});
  // What is added to is no factor.
  EXPECT_TRUE(
      pieces_of("aten::addmm", {meta({16}).expand({64, 16}), whole, meta({32, 16}), 1, 1}).empty());
}

torch::jit::Stack flash_backward_stack(const at::Tensor& query, const at::Tensor& key) {
  return {query, query, key, key,   query,     meta({1}), at::Tensor(), at::Tensor(),
          0,     0,     0.0, false, meta({2}), meta({2}), c10::IValue()};
}

TEST(InnerSizes, FlashBackwardAddsUpInFloat) {
  const GpusWithoutBytesOn on;
  const char* name = "aten::_scaled_dot_product_flash_attention_backward";
  const at::Tensor query = meta({2, 8, 1000, 80}, at::kBFloat16);
  // 1,000 rows are 1,024, and 80 columns 96.
  const PieceSizes own{2 * 8 * 1024 * 4, 2 * 8 * 1024 * 96 * 4};
  EXPECT_EQ(pieces_of(name, flash_backward_stack(query, query)), own);
  const std::int64_t expanded = 2 * 1000 * 8 * 80 * 2;
  EXPECT_EQ(pieces_of(name, flash_backward_stack(query, meta({2, 2, 1000, 80}, at::kBFloat16))),
            (PieceSizes{own[0], own[1], expanded, expanded}));
}

TEST(InnerSizes, EfficientBackwardKeepsTiles) {
  const GpusWithoutBytesOn on;
  const char* name = "aten::_scaled_dot_product_efficient_attention_backward";
  const auto stack = [](const at::Tensor& query) {
    return torch::jit::Stack{query,
                             query,
                             query,
                             query,
                             at::Tensor(),
                             query,
                             meta({1}),
                             meta({1}),
                             meta({1}),
                             0.0,
                             c10::List<bool>({true, true, true, false}),
                             false,
                             c10::IValue()};
  };
  // Tiles of 64 x 64 with 4 numbers before each: 16 for the rows, one for the columns.
  EXPECT_EQ(pieces_of(name, stack(meta({1, 4, 1000, 64}, at::kHalf))),
            (PieceSizes{4 * 1000 * 4, 4 * 16 * (4 + 64 * 64) * 4}));
  // Of 128 x 128, and in single precision the product of output and gradient.
  EXPECT_EQ(pieces_of(name, stack(meta({1, 4, 1000, 128}))),
            (PieceSizes{4 * 1000 * 4, 4 * 8 * (4 + 128 * 128) * 4, 4 * 1000 * 128 * 4}));
}

TEST(InnerSizes, EmbeddingBackwardSortsManyIndices) {
  const auto stack = [](std::int64_t count, std::int64_t rows) {
    return torch::jit::Stack{meta({count, 256}, at::kBFloat16), meta({count}, at::kLong), rows, -1,
                             false};
  };
  EXPECT_TRUE(pieces_of("aten::embedding_dense_backward", stack(3072, 9000)).empty());
  EXPECT_EQ(pieces_of("aten::embedding_dense_backward", stack(8000, 9000)),
            (PieceSizes{64000, 64000, 64000, 64000, 64000, 8800 * 8, 8800 * 256 * 4}));
  // No more sums than rows of the table, and one for each ten.
  EXPECT_EQ(pieces_of("aten::embedding_dense_backward", stack(8000, 100)).back(), 900 * 256 * 4);
}

TEST(InnerSizes, PlacesOfValuesThatAddUpAreSorted) {
  c10::List<std::optional<at::Tensor>> indices;
  indices.push_back(meta({10, 1}, at::kLong));
  indices.push_back(meta({5}, at::kLong));
  const at::Tensor self = meta({9, 9});
  EXPECT_EQ(pieces_of("aten::index_put_", {self, indices, meta({10, 5}), true}),
            (PieceSizes{400, 400, 400, 400, 800}));
  EXPECT_TRUE(pieces_of("aten::index_put_", {self, indices, meta({10, 5}), false}).empty());
  c10::List<std::optional<at::Tensor>> mask;
  mask.push_back(meta({9, 9}, at::kBool));
  EXPECT_EQ(pieces_of("aten::index", {self, mask}, "Tensor"), PieceSizes{9 * 9 * 2 * 8});
}

TEST(InnerSizes, LongSortsCarryARange) {
  const auto sorted = [](at::IntArrayRef sizes) {
    return pieces_of("aten::sort", {meta(sizes), -1, false});
  };
  EXPECT_TRUE(sorted({4, 4096}).empty());
  EXPECT_EQ(sorted({5000}), (PieceSizes{5000 * 8, 5000 * 12}));
  EXPECT_EQ(sorted({4, 5000}), (PieceSizes{20000 * 8, 20000 * 8, 20000 * 12}));
  EXPECT_EQ(sorted({128, 5000}), (PieceSizes{640000 * 8, 640000 * 12}));
}

TEST(InnerSizes, ScansTakeWhatIsWholeAndOfTheResultsType) {
  const auto pieces = [](const at::Tensor& self, c10::IValue dtype = {}) {
    return pieces_of("aten::cumsum", {self, 0, std::move(dtype)});
  };
  EXPECT_TRUE(pieces(meta({64, 32})).empty());
  EXPECT_EQ(pieces(meta({64, 32}, at::kBool)), PieceSizes{64 * 32 * 8});
  EXPECT_EQ(pieces(meta({64, 32}), at::kDouble), PieceSizes{64 * 32 * 8});
  EXPECT_EQ(pieces(meta({64, 32}, at::kInt).t()), (PieceSizes{64 * 32 * 8, 64 * 32 * 8}));
  EXPECT_EQ(pieces(meta({1920 * 8})), PieceSizes{16 * (8 + 32)});  // a state for each block
  EXPECT_TRUE(pieces(meta({})).empty());
}

TEST(InnerSizes, NormsOfManyShortRowsAddUpInBlocks) {
  const GpusWithoutBytesOn on;  // of 132 multiprocessors
  const auto backward = [](std::int64_t rows, std::int64_t size) {
    const at::Tensor input = meta({rows, size});
    return pieces_of("aten::native_layer_norm_backward",
                     {input, input, c10::List<std::int64_t>({size}), meta({rows}), meta({rows}),
                      meta({size}), meta({size}), c10::List<bool>({true, true, true})});
  };
  EXPECT_TRUE(backward(65536, 256).empty());
  EXPECT_TRUE(backward(100'000, 4096).empty());
  // 32,768 blocks by 8 for the columns, or one for 32 rows.
  EXPECT_EQ(backward(100'000, 256), (PieceSizes{3125 * 256 * 4, 3125 * 256 * 4}));
  EXPECT_EQ(backward(1'000'000, 256), (PieceSizes{4096 * 256 * 4, 4096 * 256 * 4}));
}

TEST(InnerSizes, NormsOfListsHaveASumForEachChunkOfTheLargest) {
  const c10::List<at::Tensor> tensors({meta({65537}), meta({3})});
  EXPECT_EQ(pieces_of("aten::_foreach_norm", {tensors, 2, c10::IValue()}, "Scalar"),
            PieceSizes{2 * 2 * 4});
}

TEST(InnerSizes, GroupedMatmulsDescribeTheirGroups) {
  const GpusWithoutBytesOn on;
  const auto groups = [](const at::Tensor& left, const at::Tensor& right, const at::Tensor& ends) {
    return pieces_of("aten::_grouped_mm", {left, right, ends, c10::IValue(), c10::IValue()});
  };
  const at::Tensor ends = meta({6}, at::kInt);
  const PieceSizes expected{6 * 60, 5 * 128 * 132};
  EXPECT_EQ(groups(meta({64, 16}), meta({6, 16, 8}), ends), expected);
  EXPECT_EQ(groups(meta({16, 64}), meta({64, 8}), ends), expected);
  EXPECT_EQ(groups(meta({6, 16, 8}), meta({6, 8, 4}), at::Tensor()), expected);
  EXPECT_EQ(groups(meta({5, 16, 8}), meta({5, 8, 4}), at::Tensor())[0], 5 * 60 + 24);
}

TEST(InnerSizes, CopiesFromAndToTheHostAreWhole) {
  const at::Tensor host = at::empty({10, 10});
  const at::Tensor gpu = meta({10, 10});
  const at::Tensor half = meta({10, 10}, at::kHalf);
  const auto copied = [](const at::Tensor& to, const at::Tensor& from, bool is_async) {
    return pieces_of("aten::copy_", {to, from, is_async});
  };
  EXPECT_TRUE(copied(gpu, host, false).empty());
  EXPECT_TRUE(copied(half, host, false).empty());  // the host changes the type
  EXPECT_EQ(copied(half, host, true), PieceSizes{400});
  EXPECT_EQ(copied(host, half, true), PieceSizes{400});
  EXPECT_TRUE(copied(host, half, false).empty());
  EXPECT_EQ(copied(host, gpu.t(), false), PieceSizes{400});
  EXPECT_EQ(copied(half.t(), host, false), PieceSizes{200});
}

}  // namespace
}  // namespace polyrank
