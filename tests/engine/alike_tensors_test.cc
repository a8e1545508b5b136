#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/alike_tensors.h>

#include <vector>

namespace polyrank {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

RankPartition two_ranks() { return RankPartition::identity(RankSet::first(2)); }

std::vector<at::Tensor> on_meta(const std::vector<std::vector<std::int64_t>>& sizes) {
  std::vector<at::Tensor> tensors;
  for (const auto& size : sizes) {
    tensors.push_back(at::empty(size, at::device(c10::kMeta)));
  }
  return tensors;
}

TEST(AlikeTensors, GeometryIsSizesStridesAndOffset) {
  const at::Tensor square = at::ones({3, 3});
  EXPECT_TRUE(same_geometry(square, at::zeros({3, 3})));
  EXPECT_FALSE(same_geometry(square, square.t()));
  EXPECT_FALSE(same_geometry(square.narrow(0, 0, 1), square.narrow(0, 1, 1)));
  EXPECT_TRUE(same_geometry(square.to_sparse(), at::zeros({3, 3}).to_sparse()));
}

TEST(AlikeTensors, NamesTheRanksThatDiffer) {
  check_alike(two_ranks(), {at::ones({2}), at::ones({3})});  // shapes may differ
  EXPECT_THAT([] { check_alike(two_ranks(), {at::ones({2}), at::ones({2}, at::kDouble)}); },
              ThrowsMessage<DivergenceError>(
                  HasSubstr("ranks 0 hold float[2] on cpu and ranks 1 hold double[2] on cpu")));
  const at::Tensor complex = at::ones({2}, at::kComplexFloat);
  EXPECT_THAT([&] { check_alike(two_ranks(), {complex, complex.conj()}); },
              ThrowsMessage<DivergenceError>(HasSubstr("another conjugate or negative bit")));
}

TEST(AlikeTensors, WithoutValuesRanksDifferByShapeOnly) {
  RankPartition partition = two_ranks();
  std::vector<at::Tensor> tensors = on_meta({{2, 3}, {2, 4}});
  merge_without_data(&partition, &tensors);
  EXPECT_EQ(tensors.size(), 2);
  tensors = on_meta({{2, 3}, {2, 3}});
  merge_without_data(&partition, &tensors);
  EXPECT_EQ(tensors.size(), 1);
  EXPECT_TRUE(partition.is_uniform());
}

TEST(AlikeTensors, ValuesAreNotCompared) {
  RankPartition partition = two_ranks();
  std::vector<at::Tensor> tensors{at::ones({2}), at::ones({2})};
  merge_without_data(&partition, &tensors);
  EXPECT_EQ(tensors.size(), 2);
  EXPECT_FALSE(partition.is_uniform());
}

}  // namespace
}  // namespace polyrank
