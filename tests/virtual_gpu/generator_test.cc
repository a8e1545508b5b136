#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/generator.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(Generator, DrawsWhatACpuGeneratorOfThatSeedDraws) {
  const VirtualGpusOn on;
  const at::Generator gpu = at::make_generator<GpuGenerator>(0, 5);
  const at::Generator cpu = at::detail::createCPUGenerator(5);
  EXPECT_TRUE(at::equal(at::rand({9}, gpu, on_gpu()).cpu(), at::rand({9}, cpu)));
  EXPECT_TRUE(at::equal(at::randn({9}, gpu, on_gpu()).cpu(), at::randn({9}, cpu)));
}

TEST(Generator, ItsStateIsTakenAndGivenBack) {
  const VirtualGpusOn on;
  at::Generator gpu = at::make_generator<GpuGenerator>(0, 5);
  const at::Tensor state = gpu.get_state();
  const at::Tensor first = at::rand({3}, gpu, on_gpu());
  EXPECT_FALSE(at::equal(first, at::rand({3}, gpu, on_gpu())));
  gpu.set_state(state);
  EXPECT_TRUE(at::equal(first, at::rand({3}, gpu, on_gpu())));
  EXPECT_THAT([&] { gpu.get_offset(); }, ThrowsMessage<c10::Error>(HasSubstr("no offset")));
}

TEST(Generator, ACloneGoesOnByItself) {
  const VirtualGpusOn on;
  const at::Generator gpu = at::make_generator<GpuGenerator>(0, 5);
  const at::Generator copy = gpu.clone();
  EXPECT_TRUE(at::equal(at::rand({3}, gpu, on_gpu()), at::rand({3}, copy, on_gpu())));
}

TEST(Generator, EachGpuHasADefaultOne) {
  const VirtualGpusOn on(2);
  EXPECT_EQ(default_gpu_generator(1).device(), c10::Device(c10::kCUDA, 1));
  EXPECT_EQ(default_gpu_generator(-1).device(), c10::Device(c10::kCUDA, 0));
  EXPECT_THAT([] { default_gpu_generator(2); },
              ThrowsMessage<c10::Error>(HasSubstr("invalid device ordinal")));
}

TEST(Generator, ACpusGeneratorIsNoGpus) {
  const VirtualGpusOn on;
  EXPECT_THAT([] { host_generator(at::detail::createCPUGenerator(5)); },
              ThrowsMessage<c10::Error>(
                  HasSubstr("Expected a 'cuda' device type for generator but found 'cpu'")));
}

TEST(Generator, WhileTheHostDrawsAsAGpuTheCpusStreamStands) {
  const VirtualGpusOn on;
  at::Generator cpu = at::detail::getDefaultCPUGenerator();
  at::Generator gpu = default_gpu_generator(0);
  cpu.set_current_seed(1);
  gpu.set_current_seed(2);
  at::Tensor drawn;
  {
    const HostDrawsAsGpu draws(0);
    drawn = at::rand({3});
  }
  EXPECT_TRUE(at::equal(drawn, at::rand({3}, at::detail::createCPUGenerator(2))));
  EXPECT_TRUE(at::equal(at::rand({3}), at::rand({3}, at::detail::createCPUGenerator(1))));
}

}  // namespace
}  // namespace polyrank
