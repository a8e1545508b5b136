#include <c10/core/AllocatorConfig.h>
#include <c10/util/env.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/virtual_gpu/allocator_settings.h>

#include <algorithm>
#include <mutex>
#include <unordered_set>

namespace polyrank {

namespace {

using c10::CachingAllocator::AcceleratorAllocatorConfig;
using c10::CachingAllocator::ConfigTokenizer;

// Source: CUDAAllocatorConfig::getKeys() of c10/cuda/CUDAAllocatorConfig.h, PyTorch 2.13.
const std::unordered_set<std::string>& keys_of_cuda() {
  static const std::unordered_set<std::string> keys{"backend",
                                                    "release_lock_on_cudamalloc",
                                                    "pinned_use_cuda_host_register",
                                                    "release_lock_on_hipmalloc",
                                                    "pinned_use_hip_host_register",
                                                    "graph_capture_record_stream_reuse",
                                                    "pinned_reserve_segment_size_mb",
                                                    "pinned_num_register_threads",
                                                    "per_process_memory_fraction",
                                                    "pinned_free_catch_all",
                                                    "throw_on_cudamalloc_oom"};
  return keys;
}

// The one setting of CUDA's own that would make this another allocator.
void refuse_other_backends(const std::string& text) {
  const ConfigTokenizer tokens(text);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] == "backend" && i + 2 < tokens.size() && tokens[i + 2] != "native") {
      throw UnsupportedOpError(str_cat("the allocator's backend is ", tokens[i + 2],
                                       "; the one that is modelled for a virtual GPU is native"));
    }
  }
}

void make_keys_known() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (!AcceleratorAllocatorConfig::getKeys().contains("backend")) {
      AcceleratorAllocatorConfig::registerDeviceConfigParserHook(&refuse_other_backends,
                                                                 keys_of_cuda());
    }
  });
}

std::int64_t signed_size(std::size_t bytes) {
  return static_cast<std::int64_t>(
      std::min<std::size_t>(bytes, static_cast<std::size_t>(kUnlimited)));
}

}  // namespace

void read_allocator_settings() {
  make_keys_known();
  auto text = c10::utils::get_env("PYTORCH_ALLOC_CONF");
  if (!text) {
    text = c10::utils::get_env("PYTORCH_CUDA_ALLOC_CONF");
  }
  if (text) {
    c10::CachingAllocator::setAllocatorSettings(*text);
  }
}

AllocatorOptions allocator_options() {
  AllocatorOptions options;
  options.max_split_size = signed_size(AcceleratorAllocatorConfig::max_split_size());
  options.max_non_split_rounding =
      signed_size(AcceleratorAllocatorConfig::max_non_split_rounding_size());
  options.large_segment_size = signed_size(AcceleratorAllocatorConfig::large_segment_size());
  const auto& divisions = AcceleratorAllocatorConfig::roundup_power2_divisions();
  for (std::size_t i = 0; i < std::min(divisions.size(), AllocatorOptions::kNumIntervals); ++i) {
    options.roundup_power2_divisions.at(i) = signed_size(divisions[i]);
  }
  options.garbage_collection_threshold = AcceleratorAllocatorConfig::garbage_collection_threshold();
  options.expandable_segments = AcceleratorAllocatorConfig::use_expandable_segments();
  return options;
}

}  // namespace polyrank
