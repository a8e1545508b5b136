#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/api/run_processes.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using Tensors = std::vector<at::Tensor>;

// Sums whose last digits depend on the order of summation, over the world and over two groups.
Tensors sums(RankContext& context) {
  Tensors of_all{at::arange(1, 100, at::kFloat).mul(context.rank() + 1).sin()};
  context.world().allreduce(of_all, {})->wait();
  const bool is_low = context.rank() < 2;
  const auto group =
      is_low ? context.new_group("low", {1, 0}) : context.new_group("high", {2, 3, 4});
  Tensors of_group{of_all.front() * static_cast<double>(context.rank())};
  group->allreduce(of_group, {})->wait();
  return {of_all.front(), of_group.front().view({9, 11}).t()};
}

TEST(RunProcessesTest, ResultsAreThoseOfRankThreads) {
  std::vector<Tensors> expected(5);
  run_ranks(5, [&](RankContext& context) {
    expected[static_cast<std::size_t>(context.rank())] = sums(context);
  });
  const std::vector<Tensors> found = run_processes(5, sums);
  ASSERT_EQ(found.size(), 5U);
  for (std::size_t rank = 0; rank < found.size(); ++rank) {
    ASSERT_EQ(found[rank].size(), 2U);
    EXPECT_TRUE(found[rank][0].equal(expected[rank][0]));
    EXPECT_TRUE(found[rank][1].equal(expected[rank][1]));
  }
}

TEST(RunProcessesTest, WhatARankChangesItAloneSees) {
  int changed = 0;
  const auto found = run_processes(2, [&](RankContext& context) -> Tensors {
    changed += 1 + static_cast<int>(context.rank());
    return {at::full({}, changed)};
  });
  EXPECT_EQ(changed, 0);
  EXPECT_EQ(found[1].front().item<int>(), 2);
}

TEST(RunProcessesTest, TheFirstErrorIsThrown) {
  const auto fail = [](RankContext& context) -> Tensors {
    if (context.rank() == 1) {
      throw UsageError("no data");
    }
    context.world().barrier({})->wait();
    return {};
  };
  try {
    run_processes(3, fail);
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "no data");
  }
}

TEST(RunProcessesTest, LaunchesThatDoNotBelongTogetherAreNamed) {
  const auto disagree = [](RankContext& context) -> Tensors {
    Tensors x{at::ones({2 + context.rank()})};
    context.world().allreduce(x, {})->wait();
    return x;
  };
  try {
    run_processes(2, disagree);
    FAIL() << "no error";
  } catch (const CollectiveMismatchError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1: all_reduce(sum) float32[3]"));
  }
}

TEST(RunProcessesTest, ADeathIsAnError) {
  try {
    run_processes(2, [](RankContext& context) -> Tensors {
      if (context.rank() == 0) {
        ::kill(::getpid(), SIGSEGV);
      }
      context.world().barrier({})->wait();
      return {};
    });
    FAIL() << "no error";
  } catch (const CollectiveError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 0"));
    EXPECT_THAT(error.what(), HasSubstr("signal 11"));
  }
}

// Of those that send to rank 0, the one whose message came first, second and third.
Tensors arrivals(RankContext& context) {
  Tensors x{at::full({1}, context.rank())};
  Tensors order;
  for (std::int64_t i = 1; i < 4; ++i) {
    if (context.rank() == 0) {
      context.world().recvAnysource(x, 0)->wait();
      order.push_back(x.front().clone());
    } else if (context.rank() == i) {
      context.world().send(x, 0, 0)->wait();
    }
  }
  return order;
}

TEST(RunProcessesTest, ASeedIsAnOrder) {
  const auto order_of = [](const SharedRunOptions& options) {
    return at::cat(run_processes(4, arrivals, options).front());
  };
  bool is_any_other = false;
  const at::Tensor first = order_of({.order = TurnOrder::kRandom, .seed = 0});
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const SharedRunOptions options{.order = TurnOrder::kRandom, .seed = seed};
    const at::Tensor order = order_of(options);
    EXPECT_TRUE(order.equal(order_of(options)));
    is_any_other |= !order.equal(first);
  }
  EXPECT_TRUE(is_any_other);
}

TEST(RunProcessesTest, WhoSleepsLetsTheNextOneGo) {
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  const auto found = run_processes(2,
                                   [&](RankContext& context) -> Tensors {
                                     char byte = 'x';
                                     if (context.rank() == 0) {  // has the first turn
                                       EXPECT_EQ(read(pipe_ends[0], &byte, 1), 1);
                                     } else {
                                       EXPECT_EQ(write(pipe_ends[1], &byte, 1), 1);
                                     }
                                     Tensors x{at::ones({1})};
                                     context.world().allreduce(x, {})->wait();
                                     return x;
                                   },
                                   {.order = TurnOrder::kFirstReady});
  EXPECT_EQ(found[0].front().item<float>(), 2.0F);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

std::size_t num_entries(const char* folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

std::size_t num_lines(const char* file) {
  std::ifstream stream(file);
  return static_cast<std::size_t>(
      std::count(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>(), '\n'));
}

// Of the process's own, in pages.
std::size_t resident_pages() {
  std::ifstream stream("/proc/self/statm");
  std::size_t size = 0;
  std::size_t resident = 0;
  std::size_t shared = 0;
  stream >> size >> resident >> shared;
  return resident - shared;
}

// Runs of every kind of end.
void run_once(int number) {
  try {
    run_processes(2, [number](RankContext& context) -> Tensors {
      const bool is_one = context.rank() == 1;
      if (is_one && number % 4 == 1) {
        throw UsageError("no data");
      }
      if (is_one && number % 4 == 2) {
        ::kill(::getpid(), SIGKILL);
      }
      Tensors x{at::ones({1 << 14})};
      context.world().allreduce(x, {})->wait();
      if (is_one && number % 4 == 3) {
        context.world().send(x, 0, 0);  // nobody receives it
      }
      return {x.front().narrow(0, 0, 1)};
    });
  } catch (const UsageError&) {
    EXPECT_EQ(number % 4, 1);
  } catch (const CollectiveError&) {
    EXPECT_EQ(number % 4, 2);
  }
}

// POLYRANK_SWEEP=1 asks for ten thousand of them.
TEST(RunProcessesTest, RunsLeaveNothingBehind) {
  const char* const sweep = std::getenv("POLYRANK_SWEEP");
  const int num_runs = sweep != nullptr && std::string(sweep) == "1" ? 10'000 : 60;
  for (int number = 0; number < 20; ++number) {  // until what is made once is there
    run_once(number);
  }
  const auto count = [] {
    return std::vector<std::size_t>{num_entries("/proc/self/fd"), num_entries("/proc/self/task"),
                                    num_lines("/proc/self/maps")};
  };
  const std::vector<std::size_t> before = count();
  const std::size_t pages = resident_pages();
  for (int number = 0; number < num_runs; ++number) {
    run_once(number);
  }
  EXPECT_EQ(count(), before);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);  // no children
  const std::size_t grown = std::max(resident_pages(), pages) - pages;
  EXPECT_LT(grown, 1024 + static_cast<std::size_t>(num_runs) / 40) << "pages of 4 KiB";
  std::cout << num_runs << " runs, " << grown << " pages more\n";
}

TEST(RunProcessesTest, ThereMustBeARank) {
  EXPECT_THROW(run_processes(0, [](RankContext&) { return Tensors{}; }), UsageError);
}

}  // namespace
}  // namespace polyrank
