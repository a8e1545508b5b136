#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/processes/processes_backend.h>
#include <polyrank/world/processes/shared_store.h>
#include <world/processes/run_processes.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using Tensors = std::vector<at::Tensor>;

Tensors full(double value) { return {at::full({2}, value)}; }

// A program of collectives on numbers whose sums depend on their order; gives all that it got.
Tensors many_collectives(c10d::Backend& world, c10::ScalarType dtype) {
  const auto rank = static_cast<double>(world.getRank());
  const std::int64_t size = world.getSize();
  const auto input = [&](at::IntArrayRef sizes) {
    return at::arange(1, c10::multiply_integers(sizes) + 1, at::kDouble)
        .mul(rank + 1)
        .sin()
        .mul(100)
        .reshape(sizes)
        .to(dtype);
  };
  Tensors results;
  for (const auto op : {c10d::ReduceOp::SUM, c10d::ReduceOp::AVG, c10d::ReduceOp::PRODUCT,
                        c10d::ReduceOp::MIN, c10d::ReduceOp::MAX}) {
    Tensors x{input({5, 3})};
    c10d::AllreduceOptions options;
    options.reduceOp = op;
    world.allreduce(x, options)->wait();
    results.push_back(x.front());
  }
  Tensors strided{input({4, 6}).t()};
  world.allreduce(strided, {})->wait();
  results.push_back(strided.front());

  at::Tensor shard = input({2, 3});
  at::Tensor gathered = at::zeros({2 * size, 3}, dtype);
  world._allgather_base(gathered, shard, {})->wait();
  results.push_back(gathered);
  std::vector<Tensors> lists{Tensors{}};
  for (std::int64_t member = 0; member < size; ++member) {
    lists.front().push_back(at::zeros({2, 3}, dtype));
  }
  Tensors shards{shard};
  world.allgather(lists, shards, {})->wait();
  results.insert(results.end(), lists.front().begin(), lists.front().end());

  at::Tensor scattered = at::zeros({2, 3}, dtype);
  at::Tensor whole = input({2 * size, 3});
  world._reduce_scatter_base(scattered, whole, {})->wait();
  results.push_back(scattered);

  at::Tensor swapped = at::zeros({2 * size, 3}, dtype);
  std::vector<std::int64_t> even;
  world.alltoall_base(swapped, whole, even, even, {})->wait();
  results.push_back(swapped);

  Tensors sent{input({3})};
  c10d::BroadcastOptions broadcast;
  broadcast.rootRank = size - 1;
  world.broadcast(sent, broadcast)->wait();
  results.push_back(sent.front());

  Tensors reduced{input({3})};
  c10d::ReduceOptions reduce;
  reduce.rootRank = 1;
  world.reduce(reduced, reduce)->wait();
  results.push_back(reduced.front());

  std::vector<Tensors> pieces;
  if (world.getRank() == 0) {
    Tensors& list = pieces.emplace_back();
    for (std::int64_t member = 0; member < size; ++member) {
      list.push_back(input({2}).add(member));
    }
  }
  Tensors piece{at::zeros({2}, dtype)};
  world.scatter(piece, pieces, {})->wait();
  results.push_back(piece.front());
  std::vector<Tensors> gatherings;
  if (world.getRank() == 0) {
    gatherings.push_back(Tensors{});
    for (std::int64_t member = 0; member < size; ++member) {
      gatherings.front().push_back(at::zeros({2}, dtype));
    }
  }
  world.gather(gatherings, piece, {})->wait();
  if (!gatherings.empty()) {
    results.insert(results.end(), gatherings.front().begin(), gatherings.front().end());
  }
  const int next = static_cast<int>((world.getRank() + 1) % size);
  const int last = static_cast<int>((world.getRank() + size - 1) % size);
  Tensors message{input({4})};
  Tensors received{at::zeros({4}, dtype)};
  world.send(message, next, 7)->wait();
  world.recv(received, last, 7)->wait();
  results.push_back(received.front());
  world.barrier({})->wait();
  return results;
}

TEST(ProcessesBackendTest, ValuesAreThoseOfRankThreadsBitForBit) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong}) {
    for (const std::int64_t world_size : {2, 3, 5}) {
      std::vector<Tensors> expected(static_cast<std::size_t>(world_size));
      run_ranks(world_size, [&](RankContext& context) {
        expected[static_cast<std::size_t>(context.rank())] =
            many_collectives(context.world(), dtype);
      });
      const RankEndings endings = run_processes(world_size, [&](ProcessesBackend& world) {
        const Tensors& wanted = expected[static_cast<std::size_t>(world.getRank())];
        const Tensors found = many_collectives(world, dtype);
        ASSERT_EQ(found.size(), wanted.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
          EXPECT_TRUE(found[i].equal(wanted[i])) << "result " << i;
        }
      });
      EXPECT_THAT(endings, Each(""));
    }
  }
}

TEST(ProcessesBackendTest, LargeTensorsToo) {
  const auto sum = [](c10d::Backend& world) {
    Tensors x{at::arange(3'000'001, at::kFloat).mul(world.getRank() + 1).sin()};
    world.allreduce(x, {})->wait();
    return x.front();
  };
  at::Tensor expected;
  run_ranks(3, [&](RankContext& context) { expected = sum(context.world()); });
  EXPECT_THAT(
      run_processes(3, [&](ProcessesBackend& world) { EXPECT_TRUE(sum(world).equal(expected)); }),
      Each(""));
}

TEST(ProcessesBackendTest, SparseTensorsAreSummed) {
  EXPECT_THAT(run_processes(2,
                            [](ProcessesBackend& world) {
                              at::Tensor dense = at::zeros({3, 2});
                              dense[world.getRank()].fill_(world.getRank() + 1);
                              Tensors x{dense.to_sparse()};
                              world.allreduce_sparse(x, {})->wait();
                              const at::Tensor sum = x.front().to_dense();
                              EXPECT_EQ(sum[0][0].item<int>(), 1);
                              EXPECT_EQ(sum[1][1].item<int>(), 2);
                            }),
              Each(""));
}

TEST(ProcessesBackendTest, LaunchesSeeEachOthersResultsInTheirOrder) {
  EXPECT_THAT(run_processes(3,
                            [](ProcessesBackend& world) {
                              Tensors x = full(world.getRank() + 1);  // 1, 2, 3
                              const auto first = world.allreduce(x, {});
                              const auto second = world.allreduce(x, {});
                              second->wait();
                              first->wait();
                              EXPECT_EQ(x.front()[0].item<int>(), 18);
                            }),
              Each(""));
}

TEST(ProcessesBackendTest, MessagesAreKeptUntilTheyAreReceived) {
  EXPECT_THAT(run_processes(3,
                            [](ProcessesBackend& world) {
                              const int next = (world.getRank() + 1) % 3;
                              const int last = (world.getRank() + 2) % 3;
                              Tensors sent = full(world.getRank());
                              world.send(sent, next, 4)->wait();
                              sent.front().fill_(-1);  // the message was taken already
                              Tensors received = full(0);
                              const auto work = world.recvAnysource(received, 4);
                              work->wait();
                              EXPECT_EQ(received.front()[0].item<int>(), last);
                              EXPECT_EQ(work->sourceRank(), last);
                            }),
              Each(""));
}

// Both halves of one tensor in flight at once: neither launch writes what the other has.
TEST(ProcessesBackendTest, PartsOfATensorAreOnTheirOwn) {
  EXPECT_THAT(run_processes(2,
                            [](ProcessesBackend& world) {
                              const at::Tensor halo = at::full({2, 3}, world.getRank());
                              Tensors wanted{halo[0]};
                              Tensors sent{halo[1]};
                              const auto received = world.recv(wanted, 1 - world.getRank(), 0);
                              world.send(sent, 1 - world.getRank(), 0)->wait();
                              received->wait();
                              EXPECT_EQ(halo[0][0].item<int>(), 1 - world.getRank());
                            }),
              Each(""));
}

TEST(ProcessesBackendTest, AsynchronousWorksCompleteWhenAllHaveCome) {
  EXPECT_THAT(
      run_processes(3,
                    [](ProcessesBackend& world) {
                      Tensors x = full(1);
                      const auto work = world.allreduce(x, {});
                      while (!work->isCompleted()) {
                      }
                      EXPECT_TRUE(work->isSuccess());
                      EXPECT_EQ(x.front()[0].item<int>(), 3);
                      EXPECT_EQ(work->getFuture()->value().toTensorVector().front()[1].item<int>(),
                                3);
                    }),
      Each(""));
}

std::string error_of_threads(const std::function<void(c10d::Backend&)>& program) {
  try {
    run_ranks(3, [&](RankContext& context) { program(context.world()); });
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(ProcessesBackendTest, FaultsHaveTheWordsOfRankThreads) {
  const std::vector<std::function<void(c10d::Backend&)>> programs = {
      [](c10d::Backend& world) {  // they disagree
        Tensors x{at::ones({world.getRank() + 1})};
        world.allreduce(x, {})->wait();
      },
      [](c10d::Backend& world) {  // a cycle
        Tensors x = full(0);
        world.recv(x, (world.getRank() + 1) % 3, 0)->wait();
      },
      [](c10d::Backend& world) {  // an output that does not fit
        at::Tensor x = at::ones({2});
        at::Tensor y = at::ones({3});
        world._allgather_base(y, x, {})->wait();
      },
      [](c10d::Backend& world) {  // no such root
        Tensors x = full(0);
        c10d::BroadcastOptions options;
        options.rootRank = 3;
        world.broadcast(x, options)->wait();
      },
      [](c10d::Backend& world) {  // bits of floats
        Tensors x = full(0);
        c10d::AllreduceOptions options;
        options.reduceOp = c10d::ReduceOp::BOR;
        world.allreduce(x, options)->wait();
      }};
  for (const auto& program : programs) {
    const std::string expected = error_of_threads(program);
    // In turn, so that rank 0 is the first to fail here, too; others are told of it.
    const auto process =
        std::make_shared<RankProcess>(3, SharedRunOptions{.order = TurnOrder::kFirstReady});
    const RankEndings endings = run_processes(
        process, [&](const auto& /*rank*/, ProcessesBackend& world) { program(world); });
    EXPECT_NE(expected, "");
    EXPECT_THAT(endings, Contains(expected));
  }
}

TEST(ProcessesBackendTest, WhatIsNeverWaitedForIsTold) {
  const auto process = std::make_shared<RankProcess>(2);
  EXPECT_THAT(run_processes(process,
                            [](const auto& /*rank*/, ProcessesBackend& world) {
                              Tensors x = full(1);
                              world.allreduce(x, {});
                              world.barrier({})->wait();
                              // The next launch takes what is done.
                              EXPECT_EQ(x.front()[0].item<int>(), 2);
                            }),
              Each(""));
  EXPECT_THAT(process->run().leftovers(), HasSubstr("ranks 0-1: all_reduce(sum) float32[2] (launch "
                                                    "#0 of group \"world\") was never waited for"));
}

TEST(ProcessesBackendTest, NothingIsLeftInTheArena) {
  const auto process = std::make_shared<RankProcess>(3);
  EXPECT_THAT(run_processes(process,
                            [](const auto& /*rank*/, ProcessesBackend& world) {
                              for (int i = 0; i < 200; ++i) {
                                many_collectives(world, at::kFloat);
                              }
                            }),
              Each(""));
  EXPECT_LT(process->run().arena().used_bytes(), 200'000U);
}

}  // namespace
}  // namespace polyrank
