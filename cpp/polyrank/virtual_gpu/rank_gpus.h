// What virtual GPUs hold for one rank.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>
#include <polyrank/core/export.h>
#include <polyrank/virtual_gpu/memory.h>

#include <array>
#include <memory>
#include <mutex>
#include <utility>

namespace polyrank {

// The statistics and default generators that a process would have. Ranks that are threads have each
// their own, so that a rank's `cuda:0` counts and draws as if no other rank were in the process.
//
// Thread rule: all functions may be called from any thread; a generator has a mutex of its own.
class POLYRANK_API RankGpus {
 public:
  // Generators start with the states of `others`, if given, when they are first asked for.
  explicit RankGpus(std::shared_ptr<RankGpus> others = nullptr) : others_(std::move(others)) {}

  GpuMemory memory(c10::DeviceIndex gpu);

  // Changes the statistics of one GPU.
  template <class Change>
  void change_memory(c10::DeviceIndex gpu, const Change& change) {
    const std::lock_guard<std::mutex> lock(mutex_);
    change(memory_[checked(gpu)]);
  }

  // As `torch.cuda.empty_cache()`, on all GPUs.
  void release_reserves();

  const at::Generator& generator(c10::DeviceIndex gpu);

 private:
  // Throws: c10::Error if there can't be a GPU of that index.
  static std::size_t checked(c10::DeviceIndex gpu);

  std::shared_ptr<RankGpus> others_;
  std::mutex mutex_;
  std::array<GpuMemory, kMaxGpus> memory_;
  std::array<at::Generator, kMaxGpus> generators_;
};

// Those of the calling thread's rank; of the process, where the thread is no rank's.
POLYRANK_API const std::shared_ptr<RankGpus>& rank_gpus();

}  // namespace polyrank
