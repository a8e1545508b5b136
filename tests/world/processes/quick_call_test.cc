#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/processes/quick_call.h>
#include <world/processes/run_processes.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using Tensors = std::vector<at::Tensor>;

CollectiveCall call_of(const char* op_name, const at::Tensor& input, const at::Tensor& output) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  call.units = {{{input}, {output}}};
  return call;
}

TEST(QuickCallTest, SmallDenseTensorsThatAreWaitedForAtOnceAreQuick) {
  const at::Tensor x = at::ones({4});
  CollectiveCall call = call_of("c10d::allreduce_", x, x);
  ASSERT_TRUE(quick_gift(call, 1, 3).has_value());
  EXPECT_EQ(quick_gift(call, 1, 3)->num_bytes, x.nbytes());
  EXPECT_FALSE(quick_gift(call, 0, 1).has_value());
  call.is_async = true;
  EXPECT_FALSE(quick_gift(call, 1, 3).has_value());
  const auto is_quick = [](const at::Tensor& tensor) {
    return quick_gift(call_of("c10d::allreduce_", tensor, tensor), 1, 3).has_value();
  };
  EXPECT_FALSE(is_quick(at::ones({4, 6}).t()));
  EXPECT_FALSE(is_quick(at::ones({0})));
  EXPECT_FALSE(is_quick(at::ones({4}).to_sparse()));
  EXPECT_FALSE(is_quick(at::ones({4}, at::kComplexFloat).conj()));
  EXPECT_FALSE(is_quick(at::ones({4}, at::TensorOptions().device(at::kMeta))));
  EXPECT_TRUE(is_quick(at::ones({kMaxQuickBytes / 4})));
  EXPECT_FALSE(is_quick(at::ones({kMaxQuickBytes / 4 + 1})));
}

TEST(QuickCallTest, GiftsLieWhereTheMemberLooks) {
  CollectiveCall reduce = call_of("c10d::reduce_", at::ones({4}), at::ones({4}));
  reduce.root = 2;
  EXPECT_EQ(quick_gift(reduce, 1, 3)->num_bytes, 0U);
  EXPECT_EQ(quick_gift(reduce, 2, 3)->num_bytes, 16U);
  const CollectiveCall scattered =
      call_of("c10d::_reduce_scatter_base_", at::ones({6}), at::ones({2}));
  EXPECT_EQ(quick_gift(scattered, 2, 3)->begin, 16U);
  EXPECT_EQ(quick_gift(scattered, 2, 3)->num_bytes, 8U);
  const CollectiveCall gathered = call_of("c10d::_allgather_base_", at::ones({2}), at::ones({6}));
  EXPECT_EQ(quick_gift(gathered, 2, 3)->begin, 0U);
  EXPECT_EQ(quick_gift(gathered, 2, 3)->num_bytes, 24U);
  EXPECT_FALSE(quick_gift(call_of("c10d::_allgather_base_", at::ones({2}), at::ones({5})), 2, 3));
}

at::Tensor input_of(std::int64_t step, std::int64_t rank, at::IntArrayRef sizes,
                    c10::ScalarType dtype) {
  return at::arange(1, c10::multiply_integers(sizes) + 1, at::kDouble)
      .mul(static_cast<double>(rank + step) + 1)
      .sin()
      .mul(100)
      .reshape(sizes)
      .to(dtype);
}

// Numbers whose sums depend on their order, several times, so that parts are filled again.
Tensors many_collectives(ProcessesBackend& world, c10::ScalarType dtype, bool is_async) {
  Tensors results;
  for (std::int64_t step = 0; step < 3; ++step) {
    const std::int64_t size = world.getSize();
    const auto input = [&](at::IntArrayRef sizes) {
      return input_of(step, world.getRank(), sizes, dtype);
    };
    for (const auto op : {c10d::ReduceOp::SUM, c10d::ReduceOp::AVG, c10d::ReduceOp::PRODUCT}) {
      if (op == c10d::ReduceOp::PRODUCT && c10::isComplexType(dtype)) {
        continue;  // which is refused
      }
      Tensors x{input({5, 3})};
      c10d::AllreduceOptions options;
      options.reduceOp = op;
      options.asyncOp = is_async;
      for (int again = 0; again < 2; ++again) {
        world.allreduce(x, options)->wait();
        results.push_back(x.front().clone());
      }
    }
    c10d::AllgatherOptions gather;
    gather.asyncOp = is_async;
    at::Tensor shard = input({2, 3});
    at::Tensor gathered = at::zeros({2 * size, 3}, dtype);
    world._allgather_base(gathered, shard, gather)->wait();
    results.push_back(gathered);
    c10d::ReduceScatterOptions scatter;
    scatter.asyncOp = is_async;
    at::Tensor scattered = at::zeros({2, 3}, dtype);
    at::Tensor whole = input({2 * size, 3});
    world._reduce_scatter_base(scattered, whole, scatter)->wait();
    results.push_back(scattered);
    c10d::BroadcastOptions broadcast;
    broadcast.asyncOp = is_async;
    broadcast.rootRank = (size - 1 + step) % size;
    Tensors sent{input({3})};
    world.broadcast(sent, broadcast)->wait();
    results.push_back(sent.front());
    c10d::ReduceOptions reduce;
    reduce.asyncOp = is_async;
    reduce.rootRank = step % size;
    Tensors reduced{input({3})};
    world.reduce(reduced, reduce)->wait();
    results.push_back(reduced.front());
    c10d::BarrierOptions barrier;
    barrier.asyncOp = is_async;
    world.barrier(barrier)->wait();
  }
  return results;
}

TEST(QuickCallTest, ValuesAreThoseOfTheBoardBitForBit) {
  for (const auto dtype :
       {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf, at::kLong, at::kComplexFloat}) {
    for (const std::int64_t world_size : {2, 3, 5}) {
      const RankEndings endings = run_processes(world_size, [&](ProcessesBackend& world) {
        const Tensors wanted = many_collectives(world, dtype, /*is_async=*/true);
        const Tensors found = many_collectives(world, dtype, /*is_async=*/false);
        ASSERT_EQ(found.size(), wanted.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
          EXPECT_TRUE(found[i].equal(wanted[i])) << "result " << i;
        }
      });
      EXPECT_THAT(endings, Each(""));
    }
  }
}

c10d::AllreduceOptions sum_and_wait() {
  c10d::AllreduceOptions options;
  options.asyncOp = false;
  return options;
}

TEST(QuickCallTest, RanksMeetHoweverEachComes) {
  const RankEndings endings = run_processes(3, [](ProcessesBackend& world) {
    for (int i = 0; i < 60; ++i) {
      Tensors x{at::full({4}, i)};
      c10d::AllreduceOptions options;
      options.asyncOp = (i + world.getRank()) % 4 == 0;
      world.allreduce(x, options)->wait();
      EXPECT_EQ(x.front()[3].item<int>(), 3 * i);
    }
  });
  EXPECT_THAT(endings, Each(""));
}

TEST(QuickCallTest, FaultsAreToldAsEver) {
  const RankEndings mismatch = run_processes(2, [](ProcessesBackend& world) {
    Tensors x{at::ones({world.getRank() + 1})};
    world.allreduce(x, sum_and_wait())->wait();
  });
  EXPECT_THAT(mismatch, Each(HasSubstr("ranks disagree")));
  const RankEndings refused = run_processes(2, [](ProcessesBackend& world) {
    Tensors x{at::ones({2})};
    c10d::AllreduceOptions options = sum_and_wait();
    options.reduceOp = c10d::ReduceOp::BAND;
    world.allreduce(x, options)->wait();
  });
  EXPECT_THAT(refused, Each(HasSubstr("band")));
}

}  // namespace
}  // namespace polyrank
