#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/blas_workspaces.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/streams.h>

#include <cstdlib>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

constexpr std::int64_t kMib = 1 << 20;

std::int64_t allocated() { return rank_gpus()->statistics(0).allocated_bytes.all.current; }

TEST(BlasWorkspaces, SizeIsPyTorchsOfTheCapability) {
  read_blas_workspace_size(8);
  EXPECT_EQ(blas_workspace_bytes(), 8 * kMib + 128 * 1024);
  for (const int major : {9, 10, 12}) {
    read_blas_workspace_size(major);
    EXPECT_EQ(blas_workspace_bytes(), 32 * kMib);
  }
}

TEST(BlasWorkspaces, SizeIsTheVariables) {
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:2:16:8", 1);
  read_blas_workspace_size(9);
  EXPECT_EQ(blas_workspace_bytes(), 8 * kMib + 128 * 1024);
  setenv("CUBLAS_WORKSPACE_CONFIG", "all", 1);
  read_blas_workspace_size(9);
  EXPECT_EQ(blas_workspace_bytes(), 32 * kMib);
  unsetenv("CUBLAS_WORKSPACE_CONFIG");
}

TEST(BlasWorkspaces, AreKeptForEachStream) {
  const GpusWithoutBytesOn on;
  RankGpus* rank = rank_gpus().get();
  rank->use_blas_workspace(0);
  rank->use_blas_workspace(0);
  EXPECT_EQ(allocated(), 32 * kMib);
  const c10::Stream before = exchange_gpu_stream(new_gpu_stream({c10::kCUDA, 0}));
  rank->use_blas_workspace(0);
  exchange_gpu_stream(before);
  EXPECT_EQ(allocated(), 64 * kMib);
  rank->clear_blas_workspaces();
  EXPECT_EQ(allocated(), 0);
}

TEST(BlasWorkspaces, AnotherSizeTakesTheOldOnesPlace) {
  const GpusWithoutBytesOn on;
  RankGpus* rank = rank_gpus().get();
  rank->use_blas_workspace(0);
  set_blas_workspace_bytes(kMib);
  rank->use_blas_workspace(0);
  EXPECT_EQ(allocated(), kMib);
  set_blas_workspace_bytes(0);
  rank->use_blas_workspace(0);
  EXPECT_EQ(allocated(), 0);
}

}  // namespace
}  // namespace polyrank
