#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/world/rank_thread.h>

#include <thread>
#include <vector>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

// Runs `program` as each of two ranks that are threads.
template <class Program>
void on_two_ranks(const Program& program) {
  const auto turns = std::make_shared<RankTurns>(2, TurnOptions{});
  std::vector<std::thread> threads;
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      const auto thread = std::make_shared<RankThread>(turns, rank);
      thread->begin();
      program(rank);
      thread->end();
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

std::int64_t requested_bytes() { return rank_gpus()->statistics(0).requested_bytes.all.current; }

TEST(RankGpus, EachRankCountsItsOwnMemory) {
  const VirtualGpusOn on;
  const std::int64_t of_process = requested_bytes();
  on_two_ranks([](std::int64_t rank) {
    EXPECT_EQ(requested_bytes(), 0);
    const at::Tensor tensor = at::zeros(rank + 1, on_gpu());
    EXPECT_EQ(requested_bytes(), 4 * (rank + 1));
  });
  EXPECT_EQ(requested_bytes(), of_process);
}

TEST(RankGpus, EachRankDrawsFromItsOwnStream) {
  const VirtualGpusOn on;
  at::Generator of_process = default_gpu_generator(0);
  of_process.set_current_seed(3);
  const at::Tensor expected = at::rand(2, at::detail::createCPUGenerator(3));
  on_two_ranks([&](std::int64_t /*rank*/) {
    EXPECT_TRUE(at::equal(at::rand(2, on_gpu()).cpu(), expected));
  });
  EXPECT_TRUE(at::equal(at::rand(2, on_gpu()).cpu(), expected));
}

}  // namespace
}  // namespace polyrank
