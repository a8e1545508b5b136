#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/lockstep_mode.h>

#include <array>
#include <memory>

namespace polyrank {
namespace {

const RankSet kRanks = RankSet::first(3);

std::shared_ptr<LockstepMode> make_mode() {
  cover_operators();
  return std::make_shared<LockstepMode>(kRanks);
}

bool is_local(const at::Tensor& tensor) { return LocalTensorImpl::from(tensor) != nullptr; }

TEST(LockstepMode, NeedsRanks) { EXPECT_THROW(LockstepMode{RankSet()}, UsageError); }

TEST(LockstepMode, FactoriesMakeLocalTensorsWhileAGuardIsThere) {
  {
    const LockstepGuard guard(make_mode());
    const at::Tensor made = at::ones({2});
    EXPECT_TRUE(is_local(made));
    EXPECT_EQ(ranks_of(made), kRanks);
  }
  EXPECT_FALSE(is_local(at::ones({2})));
}

TEST(LockstepMode, ADisabledOneMakesNone) {
  const auto mode = make_mode();
  const LockstepGuard guard(mode);
  mode->set_enabled(false);
  EXPECT_FALSE(is_local(at::ones({2})));
  mode->set_enabled(true);
  EXPECT_TRUE(is_local(at::ones({2})));
}

TEST(LockstepMode, TheInnermostGuardIsOn) {
  const LockstepGuard outer(make_mode());
  {
    const auto inner = std::make_shared<LockstepMode>(RankSet::first(2));
    const LockstepGuard guard(inner);
    EXPECT_EQ(current_modes().lockstep, inner.get());
    EXPECT_EQ(ranks_of(at::ones({1})), RankSet::first(2));
  }
  EXPECT_EQ(ranks_of(at::ones({1})), kRanks);
}

TEST(LockstepMode, BelowItTensorsArePlain) {
  const LockstepGuard guard(make_mode());
  EXPECT_FALSE(BelowLockstepGuard::is_active());
  {
    const BelowLockstepGuard below(/*has_python_tensors=*/false);
    EXPECT_TRUE(BelowLockstepGuard::is_active());
    EXPECT_FALSE(below.runs_python());
    EXPECT_FALSE(is_local(at::ones({1})));
  }
  EXPECT_FALSE(BelowLockstepGuard::is_active());
  EXPECT_TRUE(is_local(at::ones({1})));
}

TEST(LockstepMode, StreamsStartAnewAndGoOnAsTheLowestRanks) {
  const auto mode = make_mode();
  at::manual_seed(21);
  mode->restart_generators();
  at::Tensor drawn;
  {
    const LockstepGuard guard(mode);
    drawn = at::rand({4});
  }
  mode->store_generators();
  at::Generator alone = at::detail::createCPUGenerator(21);
  EXPECT_EQ(values_on_rank(drawn, 2), values(at::rand({4}, alone)));
  EXPECT_EQ(values(at::rand({4})), values(at::rand({4}, alone)));  // goes on after the mode
}

}  // namespace
}  // namespace polyrank
