#include <c10/util/Exception.h>
#include <polyrank/virtual_gpu/blas_workspaces.h>
#include <polyrank/virtual_gpu/streams.h>
#include <torch/csrc/autograd/graph_task.h>

#include <atomic>
#include <cstdlib>
#include <regex>
#include <string>
#include <utility>

namespace polyrank {

namespace {

constexpr std::int64_t kKib = 1024;
constexpr std::int64_t kLarge = kKib * 4096 * 8;
constexpr std::int64_t kUsual = kKib * 4096 * 2 + kKib * 16 * 8;

std::atomic<std::int64_t> workspace_bytes{kUsual};

std::int64_t default_bytes(int major) {
  return major == 9 || major == 10 || major == 12 ? kLarge : kUsual;
}

std::int64_t parsed(const std::string& config, std::int64_t otherwise) {
  static const std::regex part(":([0-9]+):([0-9]+)");
  std::int64_t total = 0;
  const auto first = std::sregex_iterator(config.begin(), config.end(), part);
  if (first == std::sregex_iterator()) {
    TORCH_WARN("CUBLAS_WORKSPACE_CONFIG is '", config, "', and must be like ':4096:8'; ", otherwise,
               " bytes are taken");
    return otherwise;
  }
  for (auto one = first; one != std::sregex_iterator(); ++one) {
    total += std::stoll((*one)[1]) * kKib * std::stoll((*one)[2]);
  }
  return total;
}

}  // namespace

std::int64_t blas_workspace_bytes() { return workspace_bytes; }

void set_blas_workspace_bytes(std::int64_t bytes) {
  TORCH_CHECK(bytes >= 0, "a workspace of ", bytes, " bytes");
  workspace_bytes = bytes;
}

void read_blas_workspace_size(int major) {
  const char* config = std::getenv("CUBLAS_WORKSPACE_CONFIG");  // NOLINT(concurrency-mt-unsafe)
  const std::int64_t otherwise = default_bytes(major);
  workspace_bytes = config == nullptr ? otherwise : parsed(config, otherwise);
}

void BlasWorkspaces::use(RankGpus* rank, c10::DeviceIndex gpu) {
  const Key key{gpu, current_gpu_stream({c10::kCUDA, gpu}).id(),
                torch::autograd::get_current_graph_task_id() >= 0};
  const std::int64_t bytes = workspace_bytes;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto known = workspaces_.find(key);
    if (known != workspaces_.end() && known->second.bytes == bytes) {
      return;
    }
  }
  // The history of memory takes the interpreter's lock: not under ours.
  Workspace made{.block = nullptr, .bytes = bytes};
  if (bytes > 0) {
    made.block = std::make_unique<GpuBlock>(rank, gpu, bytes);
    made.block->set_owner("workspaces", "cuBLAS");
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::swap(workspaces_[key], made);
  }
}

void BlasWorkspaces::clear() {
  decltype(workspaces_) gone;
  const std::lock_guard<std::mutex> lock(mutex_);
  gone.swap(workspaces_);
}

}  // namespace polyrank
