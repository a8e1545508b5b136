#include <c10/util/Exception.h>
#include <polyrank/virtual_gpu/allocator_settings.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/world/rank_thread.h>

#include <cstdint>
#include <map>
#include <utility>

namespace polyrank {

namespace {

const std::shared_ptr<RankGpus>& process_gpus() {
  static const auto* gpus = new auto(std::make_shared<RankGpus>());  // storages may outlive all
  return *gpus;
}

// The ranks of one run, which their turns stand for.
using Ranks = std::map<std::int64_t, std::shared_ptr<RankGpus>>;
using Runs = std::map<std::weak_ptr<RankTurns>, Ranks, std::owner_less<std::weak_ptr<RankTurns>>>;

std::shared_ptr<RankGpus> gpus_of(const std::shared_ptr<RankTurns>& turns, std::int64_t rank) {
  static std::mutex mutex;
  static auto* runs = new Runs();  // guarded by mutex; threads may outlive everything
  const std::lock_guard<std::mutex> lock(mutex);
  std::erase_if(*runs, [](const auto& run) { return run.first.expired(); });
  std::shared_ptr<RankGpus>& gpus = (*runs)[turns][rank];
  if (gpus == nullptr) {
    gpus = std::make_shared<RankGpus>(process_gpus());
  }
  return gpus;
}

struct Answer {
  std::shared_ptr<RankTurns> turns;
  std::int64_t rank = -1;
  std::shared_ptr<RankGpus> gpus;
};

}  // namespace

std::size_t RankGpus::checked(c10::DeviceIndex gpu) {
  TORCH_CHECK(gpu >= 0 && gpu < kMaxGpus, "there is no GPU of index ", static_cast<int>(gpu));
  return static_cast<std::size_t>(gpu);
}

CachingAllocator& RankGpus::allocator(c10::DeviceIndex gpu) {
  std::unique_ptr<CachingAllocator>& allocator = allocators_[checked(gpu)];
  if (allocator == nullptr) {
    allocator = std::make_unique<CachingAllocator>(gpu_capacity(), allocator_options(), gpu);
  }
  return *allocator;
}

void RankGpus::renew_allocators() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto& allocator : allocators_) {
    if (allocator != nullptr && allocator->statistics().active.all.current == 0) {
      allocator = nullptr;
    } else if (allocator != nullptr) {
      allocator->device().set_capacity(gpu_capacity());
    }
  }
}

const at::Generator& RankGpus::generator(c10::DeviceIndex gpu) {
  const std::lock_guard<std::mutex> lock(mutex_);
  at::Generator& generator = generators_[checked(gpu)];
  if (!generator.defined()) {
    generator = others_ == nullptr ? at::make_generator<GpuGenerator>(gpu)
                                   : others_->generator(gpu).clone();
  }
  return generator;
}

c10::StreamId RankGpus::next_pool_stream(c10::DeviceIndex gpu, bool has_high_priority) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::size_t pool = has_high_priority ? 1 : 0;
  const c10::StreamId taken = num_streams_taken_.at(checked(gpu)).at(pool)++;
  return 1 + static_cast<c10::StreamId>(pool) * kStreamsPerPool + taken % kStreamsPerPool;
}

const std::shared_ptr<RankGpus>& rank_gpus() {
  const RankThread* thread = RankThread::current();
  if (thread == nullptr) {
    return process_gpus();
  }
  static thread_local Answer last;
  if (last.turns != thread->turns_ptr() || last.rank != thread->rank()) {
    last = {thread->turns_ptr(), thread->rank(), gpus_of(thread->turns_ptr(), thread->rank())};
  }
  return last.gpus;
}

}  // namespace polyrank
