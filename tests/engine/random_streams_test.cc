#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <operators.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/random_streams.h>

#include <array>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const RankSet kRanks = RankSet::first(2);
const RankPartition kEach = RankPartition::identity(kRanks);

// One call of an operator on a LocalTensor of two ranks, whose streams are seeded 1 and 2.
class Call {
 public:
  Call(const char* name, const char* overload, torch::jit::Stack arguments)
      : op(find_operator(name, overload)),
        info(op),
        stack(std::move(arguments)),
        operands(info, stack),
        streams(info, &mode, operands, stack, kRanks) {}

  static LockstepMode seeded_mode() {
    LockstepMode made(kRanks);
    made.generators(at::kCPU).seed(kEach, std::array<std::int64_t, 2>{1, 2});
    return made;
  }

  LockstepMode mode = seeded_mode();
  c10::OperatorHandle op;
  OperatorInfo info;
  torch::jit::Stack stack;
  Operands operands;
  RandomStreams streams;
};

TEST(RandomStreams, AreNoneWhereNothingIsDrawn) {
  const Call call("aten::mul", "Tensor", stack_of(replicated({1}, 2), replicated({1}, 2)));
  EXPECT_FALSE(call.streams.is_active());
}

TEST(RandomStreams, AreTheGeneratorArgumentWhereThereIsOne) {
  Call call("aten::uniform_", "", stack_of(replicated({1}, 2), 0.0, 1.0, c10::IValue()));
  ASSERT_TRUE(call.streams.is_active());
  EXPECT_FALSE(call.streams.uses_default_generator());
  EXPECT_EQ(call.streams.partition(), kEach);
  call.streams.begin(kEach);
  torch::jit::Stack of_cohort = stack_of(at::zeros({1}), 0.0, 1.0, c10::IValue());
  call.streams.before_call(1, &of_cohort);
  at::Generator given = of_cohort[3].toGenerator();
  EXPECT_EQ(values(at::rand({2}, given)), values(at::rand({2}, at::detail::createCPUGenerator(2))));
}

TEST(RandomStreams, TakeTheDefaultGeneratorsPlaceWhereThereIsNone) {
  at::manual_seed(99);
  const std::vector<float> of_process = values(at::rand({2}));
  at::manual_seed(99);
  {
    Call call("aten::native_dropout", "", stack_of(replicated({1}, 2), 0.5, true));
    ASSERT_TRUE(call.streams.uses_default_generator());
    call.streams.begin(kEach);
    torch::jit::Stack of_cohort = stack_of(at::ones({1}), 0.5, true);
    for (std::int32_t cohort = 0; cohort < 2; ++cohort) {
      call.streams.before_call(cohort, &of_cohort);
      EXPECT_EQ(values(at::rand({2})),
                values(at::rand(
                    {2}, at::detail::createCPUGenerator(static_cast<std::uint64_t>(cohort) + 1))));
      call.streams.after_call(cohort);
    }
    call.streams.finish(call.op, kEach);
  }
  EXPECT_EQ(values(at::rand({2})), of_process);  // which has drawn nothing
}

TEST(RandomStreams, OfAGeneratorOfTheProgramsOwnAreDrawnAlike) {
  const at::Generator own = at::detail::createCPUGenerator(5);
  Call call("aten::uniform_", "", stack_of(local_tensor({{1}, {2}}), 0.0, 1.0, own));
  EXPECT_TRUE(call.streams.partition().is_uniform());
  call.streams.begin(kEach);
  torch::jit::Stack of_cohort = stack_of(at::zeros({1}), 0.0, 1.0, c10::IValue());
  call.streams.before_call(0, &of_cohort);
  at::rand({2}, of_cohort[3].toGenerator());
  call.streams.after_call(0);
  EXPECT_THAT([&] { call.streams.finish(call.op, kEach); },
              ThrowsMessage<DivergenceError>(HasSubstr("aten::uniform_")));
}

}  // namespace
}  // namespace polyrank
