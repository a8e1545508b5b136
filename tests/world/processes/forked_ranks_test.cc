#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/processes/forked_ranks.h>
#include <polyrank/world/processes/processes_backend.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using Program = std::function<std::string(const std::shared_ptr<RankProcess>&, std::int64_t)>;

std::vector<RankEnding> endings_of(const Program& program,
                                   std::chrono::milliseconds grace = std::chrono::seconds(10)) {
  const auto process = std::make_shared<RankProcess>(3);
  return fork_ranks(process, [&](std::int64_t rank) { return program(process, rank); }, grace);
}

std::string meet(const std::shared_ptr<RankProcess>& process) {
  c10::make_intrusive<ProcessesBackend>(process, "world", std::vector<std::int64_t>{0, 1, 2})
      ->barrier({})
      ->wait();
  return "met";
}

std::string text_of(const RankEnding& ending) { return ending.fault ? ending.fault->text : "none"; }

TEST(ForkedRanksTest, ResultsOfAnySizeComeBackByRank) {
  const pid_t caller = getpid();
  const auto endings = endings_of([&](const auto& process, std::int64_t rank) {
    const bool is_one = process->rank() == rank && getpid() != caller;
    return is_one ? std::string(static_cast<std::size_t>(rank) * 300'000, 'x') : "no rank";
  });
  ASSERT_EQ(endings.size(), 3U);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    EXPECT_FALSE(endings[rank].fault);
    EXPECT_TRUE(endings[rank].result == std::string(rank * 300'000, 'x'));
  }
}

TEST(ForkedRanksTest, AFailureKeepsItsClassAndEndsTheOthers) {
  const auto endings = endings_of([](const auto& process, std::int64_t rank) {
    if (rank == 1) {
      throw UnsupportedOpError("no such operator");
    }
    return meet(process);
  });
  ASSERT_TRUE(endings[1].fault);
  EXPECT_EQ(endings[1].fault->kind, FaultKind::kUnsupported);
  EXPECT_EQ(endings[1].fault->text, "no such operator");
  for (const std::size_t other : {0U, 2U}) {
    EXPECT_THAT(text_of(endings[other]), HasSubstr("rank 1 failed, so the run ends"));
    EXPECT_GE(endings[other].when_failed, endings[1].when_failed);
  }
}

TEST(ForkedRanksTest, ADeathIsNamedToAll) {
  const auto endings = endings_of([](const auto& process, std::int64_t rank) {
    const std::string result = meet(process);
    if (rank == 2) {
      ::kill(::getpid(), SIGKILL);
    }
    return rank == 0 ? result : meet(process);
  });
  EXPECT_EQ(endings[0].result, "met");
  EXPECT_THAT(text_of(endings[1]), HasSubstr("died by signal 9; its last launch was"));
  EXPECT_EQ(text_of(endings[2]), "rank 2 died by signal 9");
}

TEST(ForkedRanksTest, ARankThatExitsHasNoResult) {
  const auto endings = endings_of([](const auto& process, std::int64_t rank) {
    if (rank == 0) {
      _exit(0);
    }
    return meet(process);
  });
  EXPECT_EQ(text_of(endings[0]), "rank 0 died by exit code 0");
  EXPECT_THAT(text_of(endings[1]), HasSubstr("died by exit code 0 before its first launch"));
}

TEST(ForkedRanksTest, WhoDoesNotEndIsKilled) {
  const auto endings = endings_of(
      [](const auto& /*process*/, std::int64_t rank) -> std::string {
        while (rank != 0) {
          pause();
        }
        throw UsageError("wrong");
      },
      std::chrono::milliseconds(50));
  EXPECT_EQ(text_of(endings[0]), "wrong");
  EXPECT_EQ(text_of(endings[2]),
            "rank 2 did not end within 50 ms after another rank had failed, and was killed");
}

TEST(ForkedRanksTest, ACallerThatComputesOnSeveralThreadsIsNoHindrance) {
  const int before = at::get_num_threads();
  at::set_num_threads(4);
  const double expected = at::ones({1000, 1000}).mm(at::ones({1000, 1000})).sum().item<double>();
  const auto endings = endings_of([&](const auto& /*process*/, std::int64_t /*rank*/) {
    const double sum = at::ones({1000, 1000}).mm(at::ones({1000, 1000})).sum().item<double>();
    return std::string(sum == expected && at::get_num_threads() == 1 ? "same" : "another");
  });
  at::set_num_threads(before);
  for (const RankEnding& ending : endings) {
    EXPECT_EQ(ending.result, "same");
  }
}

}  // namespace
}  // namespace polyrank
