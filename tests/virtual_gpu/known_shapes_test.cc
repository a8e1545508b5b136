#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/known_shapes.h>

#include <vector>

namespace polyrank {
namespace {

at::Tensor meta(at::IntArrayRef sizes, at::ScalarType dtype = at::kFloat) {
  return at::empty(sizes, at::TensorOptions().device(c10::kMeta).dtype(dtype));
}

// Runs an operator on meta tensors, and counts how often its shape function is asked.
class Asked {
 public:
  Asked(const char* name, const char* overload)
      : op_(c10::Dispatcher::singleton().findSchemaOrThrow(name, overload)) {}

  at::Tensor operator()(torch::jit::Stack stack) {
    call_or_remember(op_, stack.size(), &stack, [&] {
      ++times;
      op_.callBoxed(&stack);
    });
    EXPECT_EQ(stack.size(), op_.schema().returns().size());
    return stack.back().toTensor();
  }

  int times = 0;

 private:
  c10::OperatorHandle op_;
};

TEST(KnownShapes, AreAskedForOnce) {
  Asked mul("aten::mul", "Tensor");
  const at::Tensor first = mul({meta({3, 1}).t(), meta({4, 1}, at::kDouble)});
  const at::Tensor again = mul({meta({3, 1}).t(), meta({4, 1}, at::kDouble)});
  EXPECT_EQ(mul.times, 1);
  EXPECT_EQ(again.sizes(), first.sizes());
  EXPECT_EQ(again.strides(), first.strides());
  EXPECT_EQ(again.scalar_type(), at::kDouble);
  EXPECT_NE(again.storage().unsafeGetStorageImpl(), first.storage().unsafeGetStorageImpl());
  EXPECT_EQ(again.storage().nbytes(), first.storage().nbytes());
}

TEST(KnownShapes, AreToldApartByAllThatIsGiven) {
  Asked mul("aten::mul", "Tensor");
  mul({meta({2, 5}), meta({2, 5})});
  EXPECT_EQ(mul({meta({5, 2}), meta({5, 2})}).size(0), 5);
  EXPECT_EQ(mul({meta({5, 2}).t(), meta({5, 2}).t()}).stride(0), 1);
  EXPECT_EQ(mul({meta({2, 5}, at::kHalf), meta({2, 5})}).scalar_type(), at::kFloat);
  EXPECT_EQ(mul.times, 4);
  Asked sum("aten::sum", "dim_IntList");
  const auto over = [&](std::vector<std::int64_t> dims, bool keeps) {
    return sum({meta({2, 3, 4}), dims, keeps, c10::IValue()}).dim();
  };
  EXPECT_EQ(over({0}, false), 2);
  EXPECT_EQ(over({0, 1}, false), 1);
  EXPECT_EQ(over({0}, true), 3);
  EXPECT_EQ(sum.times, 3);
}

TEST(KnownShapes, OfDivisionsFollowTheDefaultDtype) {
  Asked div("aten::div", "Tensor");
  EXPECT_EQ(div({meta({2}, at::kLong), meta({2}, at::kLong)}).scalar_type(), at::kFloat);
  const auto before = at::get_default_dtype();
  at::set_default_dtype(caffe2::TypeMeta::Make<double>());
  const at::Tensor other = div({meta({2}, at::kLong), meta({2}, at::kLong)});
  at::set_default_dtype(before);
  EXPECT_EQ(other.scalar_type(), at::kDouble);
}

TEST(KnownShapes, AreAskedForEachTimeWhereResultsAreNoNewTensors) {
  Asked view("aten::view", "");
  const at::Tensor viewed = meta({6});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(view({viewed, std::vector<std::int64_t>{2, 3}}).storage().unsafeGetStorageImpl(),
              viewed.storage().unsafeGetStorageImpl());
  }
  EXPECT_EQ(view.times, 2);
  Asked add("aten::add_", "Tensor");
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(add({viewed, meta({6}), 1}).is_same(viewed));
  }
  EXPECT_EQ(add.times, 2);
}

TEST(KnownShapes, AreAskedForEachTimeWhereOperandsHaveData) {
  Asked mul("aten::mul", "Tensor");
  mul({at::ones({2}), at::ones({2})});
  mul({at::ones({2}), at::ones({2})});
  EXPECT_EQ(mul.times, 2);
}

TEST(KnownShapes, ErrorsAreThrownEachTime) {
  Asked mul("aten::mul", "Tensor");
  for (int i = 0; i < 2; ++i) {
    EXPECT_ANY_THROW(mul({meta({2}), meta({3})}));
  }
  EXPECT_EQ(mul.times, 2);
}

}  // namespace
}  // namespace polyrank
