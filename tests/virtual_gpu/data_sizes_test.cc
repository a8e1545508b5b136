#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/data_sizes.h>
#include <polyrank/virtual_gpu/reads.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

using Sizes = std::vector<std::int64_t>;

at::Tensor mask_of(at::IntArrayRef sizes) { return at::empty(sizes, on_gpu().dtype(at::kBool)); }

class DataSizes : public testing::Test {
 protected:
  DataSizes() { clear_reads(OnRead::kAssume); }

  // That one read was kept, by the operator of that name.
  static void expect_read(const std::string& operation) {
    const std::vector<DataRead> reads = data_reads();
    ASSERT_EQ(reads.size(), 1U);
    EXPECT_EQ(reads[0].operation, operation);
    EXPECT_EQ(reads[0].assumed, "every element is chosen");
  }

  GpusWithoutBytesOn on_;
};

TEST_F(DataSizes, EveryPlaceIsNonzero) {
  const at::Tensor places = at::nonzero(mask_of({3, 4}));
  EXPECT_EQ(places.sizes(), Sizes({12, 2}));
  EXPECT_EQ(places.strides(), Sizes({1, 12}));  // as CUDA's kernel
  EXPECT_EQ(places.scalar_type(), at::kLong);
  EXPECT_TRUE(places.is_cuda());
  expect_read("nonzero()");
}

TEST_F(DataSizes, AMaskChoosesAll) {
  const at::Tensor tensor = at::empty({3, 4, 5}, on_gpu());
  EXPECT_EQ(at::index(tensor, {mask_of({3})}).sizes(), Sizes({3, 4, 5}));
  EXPECT_EQ(at::index(tensor, {mask_of({3, 4})}).sizes(), Sizes({12, 5}));
  EXPECT_EQ(at::index(tensor, {std::nullopt, mask_of({4})}).sizes(), Sizes({3, 4, 5}));
  expect_read("index()");
}

TEST_F(DataSizes, AMaskedSelectionIsOfTheCommonShape) {
  EXPECT_EQ(at::masked_select(at::empty({3, 1}, on_gpu()), mask_of({4})).sizes(), Sizes({12}));
  expect_read("masked_select()");
}

TEST_F(DataSizes, AllAreDistinct) {
  const at::Tensor tensor = at::empty({3, 4}, on_gpu());
  const auto [values, places, counts] = at::_unique2(tensor, true, true, true);
  EXPECT_EQ(values.sizes(), Sizes({12}));
  EXPECT_EQ(places.sizes(), Sizes({3, 4}));
  EXPECT_EQ(counts.sizes(), Sizes({12}));
  expect_read("_unique2()");
  const auto [rows, row_places, row_counts] = at::unique_consecutive(tensor, true, false, 0);
  EXPECT_EQ(rows.sizes(), Sizes({3, 4}));
  EXPECT_EQ(row_places.sizes(), Sizes({3}));
  EXPECT_EQ(row_counts.sizes(), Sizes({0}));  // not asked for
}

TEST_F(DataSizes, WhatTheCallTellsIsNoRead) {
  const at::Tensor tensor = at::empty({6}, on_gpu());
  const at::Tensor numbers = at::empty({6}, on_gpu().dtype(at::kLong));
  EXPECT_EQ(at::index(tensor, {numbers}).sizes(), Sizes({6}));
  EXPECT_TRUE(data_reads().empty());
}

TEST_F(DataSizes, CountsAreAsManyAsTheCallSays) {
  const at::Tensor numbers = at::empty({9}, on_gpu().dtype(at::kLong));
  const at::Tensor counts = at::bincount(numbers, {}, 4);
  EXPECT_EQ(counts.sizes(), Sizes({4}));
  EXPECT_EQ(counts.scalar_type(), at::kLong);
  ASSERT_EQ(data_reads().size(), 1U);
  EXPECT_EQ(data_reads()[0].operation, "bincount()");
  EXPECT_EQ(data_reads()[0].assumed, "all numbers are below minlength");
  const at::Tensor weights = at::empty({9}, on_gpu());
  EXPECT_EQ(at::bincount(numbers, weights, 4).scalar_type(), at::kFloat);
}

TEST_F(DataSizes, WhereThereIsNoLargestItIsRefused) {
  const at::Tensor numbers = at::empty({6}, on_gpu().dtype(at::kLong));
  EXPECT_THROW(at::bincount(numbers), UnsupportedOpError);
  try {
    at::repeat_interleave(numbers);
    FAIL();
  } catch (const UnsupportedOpError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("no largest size"));
  }
  EXPECT_TRUE(data_reads().empty());
}

}  // namespace
}  // namespace polyrank
