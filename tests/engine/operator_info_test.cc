#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <operators.h>
#include <polyrank/engine/operator_info.h>
#include <torch/library.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;

OperatorInfo info_of(const char* name, const char* overload = "") {
  return OperatorInfo(find_operator(name, overload));
}

TEST(OperatorInfo, KnowsWhatIsWrittenAndWhatOfThatIsRead) {
  const OperatorInfo add = info_of("aten::add", "Tensor");
  EXPECT_EQ(add.num_arguments, 3U);
  EXPECT_EQ(add.num_returns, 1U);
  EXPECT_FALSE(add.writes_anything);
  const OperatorInfo in_place = info_of("aten::add_", "Tensor");
  EXPECT_TRUE(in_place.writes_anything);
  EXPECT_THAT(in_place.is_written, ElementsAre(true, false, false));
  EXPECT_THAT(in_place.is_overwritten, ElementsAre(false, false, false));
  const OperatorInfo out = info_of("aten::add", "out");
  EXPECT_THAT(out.is_written, ElementsAre(false, false, false, true));
  EXPECT_THAT(out.is_overwritten, ElementsAre(false, false, false, true));
  EXPECT_TRUE(out.changes_metadata);  // an output of another size is resized
  const OperatorInfo copy = info_of("aten::copy_");
  EXPECT_TRUE(copy.is_overwritten[0]);
}

TEST(OperatorInfo, KnowsWritesThatASchemaHides) {
  const OperatorInfo norm = info_of("aten::native_batch_norm");
  EXPECT_THAT(norm.hidden_writes, ElementsAre(3, 4));  // running_mean, running_var
  EXPECT_EQ(norm.hidden_write_switch, 5U);             // while training
  EXPECT_TRUE(norm.writes_anything);
  for (const char* const always : {"aten::batch_norm_update_stats", "aten::batch_norm_gather_stats",
                                   "aten::batch_norm_gather_stats_with_counts"}) {
    EXPECT_EQ(info_of(always).hidden_writes.size(), 2U) << always;
    EXPECT_EQ(info_of(always).hidden_write_switch, std::nullopt) << always;
  }
  for (const char* const never :
       {"aten::native_layer_norm", "aten::native_batch_norm_backward",
        "aten::_native_batch_norm_legit_functional", "aten::_native_batch_norm_legit_no_training",
        "aten::_batch_norm_no_update"}) {
    EXPECT_TRUE(info_of(never).hidden_writes.empty()) << never;
  }
}

TEST(OperatorInfo, KnowsWhoDraws) {
  const OperatorInfo bernoulli = info_of("aten::bernoulli_", "float");
  EXPECT_TRUE(bernoulli.is_random);
  EXPECT_EQ(bernoulli.generator_argument, 2);
  const OperatorInfo dropout = info_of("aten::native_dropout");
  EXPECT_TRUE(dropout.is_random);
  EXPECT_EQ(dropout.generator_argument, -1);
  EXPECT_FALSE(info_of("aten::mul", "Tensor").is_random);
}

TEST(OperatorInfo, KnowsWhichReadShapesOnly) {
  EXPECT_TRUE(info_of("aten::zeros_like").reads_geometry_only);
  EXPECT_TRUE(info_of("aten::zeros_like").makes_like);
  EXPECT_TRUE(info_of("aten::new_empty").reads_geometry_only);
  EXPECT_FALSE(info_of("aten::new_empty").makes_like);
  EXPECT_FALSE(info_of("aten::clone").reads_geometry_only);
  EXPECT_TRUE(info_of("aten::lift_fresh").lifts_plain);
  EXPECT_TRUE(info_of("aten::squeeze_").changes_metadata);
}

TEST(OperatorInfo, KnowsWhichActOnEachPositionOfLists) {
  EXPECT_TRUE(info_of("aten::_foreach_add_", "List").is_foreach);
  EXPECT_TRUE(info_of("aten::_fused_adamw_").is_foreach);
  EXPECT_FALSE(info_of("aten::cat").is_foreach);
}

TEST(OperatorInfo, KnowsTensorsAmongArgumentsAndResults) {
  EXPECT_TRUE(info_of("aten::index", "Tensor").has_tensor_argument);  // in a list of optionals
  EXPECT_FALSE(info_of("aten::arange").has_tensor_argument);
  EXPECT_TRUE(info_of("aten::arange").returns_tensor);
  EXPECT_FALSE(info_of("aten::equal").returns_tensor);
}

void handle_one(const c10::OperatorHandle& /*op*/, torch::jit::Stack* /*stack*/) {}
void handle_all(const c10::OperatorHandle& /*op*/, torch::jit::Stack* /*stack*/) {}

TORCH_LIBRARY(operator_info_test, library) {
  library.def("one(Tensor x) -> Tensor");
  library.def("other(Tensor x) -> Tensor");
}

TEST(OperatorInfo, AHandlerIsOneOperatorsOrAllOthersOfANamespace) {
  EXPECT_EQ(info_of("operator_info_test::one").handler, nullptr);
  register_operator_handler("operator_info_test::", &handle_all);
  register_operator_handler("operator_info_test::one", &handle_one);
  EXPECT_EQ(info_of("operator_info_test::one").handler, &handle_one);
  EXPECT_EQ(find_operator_handler(find_operator("operator_info_test::other")), &handle_all);
  EXPECT_EQ(info_of("aten::add", "Tensor").handler, nullptr);
}

}  // namespace
}  // namespace polyrank
