// What virtual GPUs hold for one rank.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>
#include <c10/core/Stream.h>
#include <polyrank/allocator/caching_allocator.h>
#include <polyrank/core/export.h>
#include <polyrank/virtual_gpu/blas_workspaces.h>
#include <polyrank/virtual_gpu/devices.h>

#include <array>
#include <memory>
#include <mutex>
#include <utility>

namespace polyrank {

// Streams of a GPU's two pools: their ids are 1 ... kPoolStreams, those of low priority first.
inline constexpr c10::StreamId kStreamsPerPool = 32;
inline constexpr c10::StreamId kPoolStreams = 2 * kStreamsPerPool;

// The memory, pools of streams and default generators that a process would have. Ranks that are
// threads have each their own, so that a rank's `cuda:0` counts and draws as if no other rank were
// in the process.
//
// Thread rule: all functions may be called from any thread; a generator has a mutex of its own.
class POLYRANK_API RankGpus {
 public:
  // Generators start with the states of `others`, if given, when they are first asked for.
  explicit RankGpus(std::shared_ptr<RankGpus> others = nullptr) : others_(std::move(others)) {}

  // Calls `use` with the allocator of one GPU, while no other thread does.
  template <class Use>
  auto with_allocator(c10::DeviceIndex gpu, const Use& use) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return use(allocator(gpu));
  }

  AllocatorStatistics statistics(c10::DeviceIndex gpu) {
    return with_allocator(gpu, [](const CachingAllocator& one) { return one.statistics(); });
  }

  // Calls `use` with each allocator that was used so far.
  template <class Use>
  void with_all_allocators(const Use& use) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& allocator : allocators_) {
      if (allocator != nullptr) {
        use(*allocator);
      }
    }
  }

  // GPUs were switched on: their memory is empty, except for what tensors from before hold.
  void renew_allocators();

  const at::Generator& generator(c10::DeviceIndex gpu);

  // The id of the next stream of a pool.
  c10::StreamId next_pool_stream(c10::DeviceIndex gpu, bool has_high_priority);

  // A matmul without bytes runs on that GPU (NOTE [cuBLAS's workspaces]).
  void use_blas_workspace(c10::DeviceIndex gpu) { workspaces_.use(this, gpu); }
  void clear_blas_workspaces() { workspaces_.clear(); }

 private:
  // Throws: c10::Error if there can't be a GPU of that index.
  static std::size_t checked(c10::DeviceIndex gpu);
  CachingAllocator& allocator(c10::DeviceIndex gpu);

  std::shared_ptr<RankGpus> others_;
  std::mutex mutex_;
  std::array<std::unique_ptr<CachingAllocator>, kMaxGpus> allocators_;
  std::array<at::Generator, kMaxGpus> generators_;
  std::array<std::array<c10::StreamId, 2>, kMaxGpus> num_streams_taken_{};  // by pool
  BlasWorkspaces workspaces_;  // blocks of allocators_: goes first
};

// Those of the calling thread's rank; of the process, where the thread is no rank's.
POLYRANK_API const std::shared_ptr<RankGpus>& rank_gpus();

}  // namespace polyrank
