#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/stream_positions.h>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(StreamPositions, AreThoseOfWhoHasDrawnSoMany) {
  for (const std::int64_t numbers : {0, 1, 4, 623, 624, 625, 2000}) {
    at::Generator drawn = at::detail::createCPUGenerator(7);
    const at::Tensor before = drawn.get_state();
    at::rand({numbers}, drawn, at::TensorOptions(at::kFloat));  // one number each
    at::Generator jumped = at::detail::createCPUGenerator();
    jumped.set_state(rng_state_after(before, numbers));
    EXPECT_TRUE(at::equal(at::rand({8}, jumped, at::TensorOptions(at::kFloat)),
                          at::rand({8}, drawn, at::TensorOptions(at::kFloat))))
        << numbers;
  }
}

TEST(StreamPositions, HaveNoNormalInAdvance) {
  at::Generator generator = at::detail::createCPUGenerator(7);
  at::randn({1}, generator, at::TensorOptions(at::kDouble));  // draws two
  at::Generator jumped = at::detail::createCPUGenerator();
  jumped.set_state(rng_state_after(generator.get_state(), 0));
  EXPECT_FALSE(at::check_generator<at::CPUGeneratorImpl>(jumped)->next_double_normal_sample());
}

TEST(StreamPositions, DoNotGoBack) {
  const at::Tensor state = at::detail::createCPUGenerator(7).get_state();
  EXPECT_THAT([&] { rng_state_after(state, -1); },
              ThrowsMessage<UsageError>(HasSubstr("can't go back")));
}

}  // namespace
}  // namespace polyrank
