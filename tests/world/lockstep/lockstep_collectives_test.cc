#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <operators.h>
#include <polyrank/core/errors.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/lockstep/lockstep_collectives.h>
#include <torch/library.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TORCH_LIBRARY_FRAGMENT(_c10d_functional, library) {
  library.def("lockstep_collectives_test(Tensor x, str group_name) -> Tensor");
}

// A world of four ranks, with the groups of a mesh dimension.
class LockstepCollectivesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    group_families().clear();
    group_families().add("world", {0, 1, 2, 3}, 4, "world");
    group_families().add("low", {0, 1}, 4, "mesh_tp");
    group_families().add("high", {2, 3}, 4, "mesh_tp");
    group_families().declare_family("low", {"low", "high"});
    group_families().declare_family("high", {"low", "high"});
  }
  void TearDown() override { group_families().clear(); }

  static at::Tensor run(const char* name, torch::jit::Stack stack) {
    run_lockstep_collective(find_operator(name), &stack);
    return stack.back().toTensor();
  }

  const at::Tensor x_ = local_tensor({{1}, {2}, {3}, {4}});
};

TEST_F(LockstepCollectivesTest, RunAnOperatorOfTheTable) {
  const at::Tensor all = run("_c10d_functional::all_reduce", stack_of(x_, "sum", "world"));
  EXPECT_EQ(num_cohorts(all), 1U);
  EXPECT_THAT(values_on_rank(all, 3), ElementsAre(10));
  EXPECT_THAT(values_on_rank(x_, 3), ElementsAre(4));
}

TEST_F(LockstepCollectivesTest, AGroupStandsForItsFamily) {
  const at::Tensor sums = run("_c10d_functional::all_reduce", stack_of(x_, "sum", "low"));
  EXPECT_THAT(values_on_rank(sums, 1), ElementsAre(3));
  EXPECT_THAT(values_on_rank(sums, 2), ElementsAre(7));
}

TEST_F(LockstepCollectivesTest, InPlaceOnesGiveTheirOperandBack) {
  const at::Tensor same = run("_c10d_functional::all_reduce_", stack_of(x_, "max", "world"));
  EXPECT_TRUE(same.is_same(x_));
  EXPECT_THAT(values_on_rank(x_, 0), ElementsAre(4));
}

TEST_F(LockstepCollectivesTest, AGroupThatIsNotThereIsAnError) {
  EXPECT_THAT([&] { run("_c10d_functional::all_reduce", stack_of(x_, "sum", "moon")); },
              ThrowsMessage<CollectiveError>(HasSubstr("moon")));
  group_families().close("low");
  EXPECT_THROW(run("_c10d_functional::all_reduce", stack_of(x_, "sum", "low")), CollectiveError);
}

TEST_F(LockstepCollectivesTest, AnOperatorThatIsNotInTheTableIsRefusedByName) {
  EXPECT_THAT([&] { run("_c10d_functional::lockstep_collectives_test", stack_of(x_, "world")); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("lockstep_collectives_test")));
}

}  // namespace
}  // namespace polyrank
