// The workspaces that PyTorch gives cuBLAS.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>
#include <polyrank/core/export.h>
#include <polyrank/virtual_gpu/gpu_block.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

namespace polyrank {

// NOTE [cuBLAS's workspaces]
// PyTorch gives each of cuBLAS's handles a workspace for each stream, from the caching allocator,
// at its first matmul there, and keeps it. A handle is a thread's: a program has one, and its
// backward another, since PyTorch runs that on a thread of the GPU's (here it runs on the program's
// own, so that "in backward" stands for the thread). cuBLASLt takes the same workspace. Source:
// aten/src/ATen/cuda/CublasHandlePool.cpp of PyTorch 2.13.

// Bytes of one: 32 MiB for compute capabilities 9, 10 and 12, else 8.125 MiB;
// CUBLAS_WORKSPACE_CONFIG
// (":KiB:count:KiB:count…"), or what a program sets, says otherwise.
POLYRANK_API std::int64_t blas_workspace_bytes();
POLYRANK_API void set_blas_workspace_bytes(std::int64_t bytes);

// Reads the variable for a GPU of that compute capability, and forgets what a program set.
void read_blas_workspace_size(int major);

// Those of one rank. Thread rule: safe from any thread.
class POLYRANK_API BlasWorkspaces {
 public:
  // A matmul runs on the GPU's current stream. Makes the workspace if it is not there yet.
  // Throws: c10::OutOfMemoryError if the GPU has no room.
  void use(RankGpus* rank, c10::DeviceIndex gpu);

  void clear();

 private:
  struct Workspace {
    std::unique_ptr<GpuBlock> block;  // null: of no bytes
    std::int64_t bytes = 0;
  };
  using Key = std::tuple<c10::DeviceIndex, c10::StreamId, bool>;  // bool: in backward

  std::mutex mutex_;
  std::map<Key, Workspace> workspaces_;  // guarded by mutex_
};

}  // namespace polyrank
