#include <ATen/Functions.h>
#include <ATen/core/List.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/operator_arguments.h>

namespace polyrank {
namespace {

c10::OperatorHandle found(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
}

TEST(OperatorArguments, AreFoundByName) {
  const auto op = found("aten::embedding_dense_backward");
  const at::Tensor gradient = at::zeros({2, 3});
  const at::Tensor indices = at::zeros({2}, at::kLong);
  const torch::jit::Stack stack{"below", gradient, indices, 7, -1, true};
  const OperatorArguments call(op, stack);
  EXPECT_TRUE(call.tensor("grad_output").is_same(gradient));
  EXPECT_TRUE(call.tensor("indices").is_same(indices));
  EXPECT_EQ(call.integer("num_weights"), 7);
  EXPECT_TRUE(call.flag("scale_grad_by_freq"));
  EXPECT_FALSE(call.tensor("weight").defined());
  EXPECT_FALSE(call.flag("weight"));
  EXPECT_EQ(call.integer("weight"), std::nullopt);
}

TEST(OperatorArguments, ListsLeaveOutWhatIsNotThere) {
  const auto op = found("aten::index_put_");
  c10::List<std::optional<at::Tensor>> indices;
  indices.push_back(std::nullopt);
  indices.push_back(at::zeros({2}, at::kLong));
  const torch::jit::Stack stack{at::zeros({4, 4}), indices, at::zeros({4, 2}), true};
  const OperatorArguments call(op, stack);
  EXPECT_EQ(call.tensors("indices").size(), 1);
  EXPECT_TRUE(call.tensors("self").empty());
}

}  // namespace
}  // namespace polyrank
