#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/composite_errors.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;

template <typename ErrorType>
std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "no such error";
}

at::Tensor of_lengths(std::int64_t first, std::int64_t second) {
  return make_local_tensor({{0, at::ones({first})}, {1, at::ones({second})}});
}

TEST(CompositeErrors, OfSomeRanksAreADivergence) {
  const std::string item = error_of<DivergenceError>([] { of_lengths(1, 2).item(); });
  EXPECT_THAT(item, HasSubstr("aten::item raises an error on rank 1, and none on rank 0"));
  EXPECT_THAT(item, HasSubstr("a Tensor with 2 elements cannot be converted to Scalar"));
  EXPECT_THAT(error_of<DivergenceError>([] { of_lengths(4, 3).unflatten(0, {2, 2}); }),
              HasSubstr("aten::unflatten"));
}

TEST(CompositeErrors, OfAllRanksAreThePrograms) {
  EXPECT_THAT(error_of<c10::Error>([] { of_lengths(3, 2).item(); }),
              HasSubstr("elements cannot be converted to Scalar"));
}

TEST(CompositeErrors, OfEqualSizesAreRaisedAsTheyAre) {
  EXPECT_THAT(error_of<c10::Error>([] { local_tensor({{1, 2}, {3, 4}}).item(); }),
              HasSubstr("a Tensor with 2 elements cannot be converted to Scalar"));
}

TEST(CompositeErrors, SizesThatDifferAreRefusedWherePlainOnesAreWanted) {
  const auto interpolate = [] {
    const std::vector<c10::SymInt> size{of_lengths(5, 6).sym_size(0)};
    at::upsample_linear1d_symint(local_tensor({{1, 2}, {3, 4}}).view({1, 1, 2}),
                                 at::OptionalSymIntArrayRef(size), /*align_corners=*/false,
                                 std::nullopt);
  };
  EXPECT_THAT(error_of<DivergenceError>(interpolate),
              HasSubstr("aten::upsample_linear1d takes one size for all ranks"));
}

TEST(CompositeErrors, ThereIsNoneWhereEachRankHasNone) {
  EXPECT_EQ(on_rank(of_lengths(4, 6).unflatten(0, {2, -1}), 1).sizes(), (at::IntArrayRef{2, 3}));
}

TEST(CompositeErrors, WatchesThoseWithoutAKernelInFront) {
  const auto find = [](const char* name) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  };
  EXPECT_FALSE(is_composite(find("aten::mm")));
  EXPECT_FALSE(is_composite(find("aten::reshape")));  // has one of ours, reshape_by_rank.cc
}

}  // namespace
}  // namespace polyrank
