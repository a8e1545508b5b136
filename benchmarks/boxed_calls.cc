// Times one operator on a LocalTensor of N distinct ranks against the N boxed calls on plain
// tensors that it stands for, both from C++ and on one thread. Prints one JSON object a line, for
// run.py.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <polyrank/engine/cohort_threads.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/engine/local_tensor.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {
namespace {

struct Work {
  std::string name;
  c10::OperatorHandle op;
  std::vector<c10::IValue> last_arguments;  // those after the two tensors
};

struct Seconds {
  double bare = std::numeric_limits<double>::infinity();
  double local = std::numeric_limits<double>::infinity();
};

constexpr double kSampleSeconds = 2e-3;

double seconds_per_call(const std::function<void()>& work, std::int64_t num_calls) {
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t call = 0; call < num_calls; ++call) {
    work();
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / static_cast<double>(num_calls);
}

// How many calls fill a sample.
std::int64_t calls_per_sample(const std::function<void()>& work) {
  seconds_per_call(work, 1);
  const double once = seconds_per_call(work, 3);
  return std::clamp(static_cast<std::int64_t>(kSampleSeconds / once), std::int64_t{1},
                    std::int64_t{10000});
}

at::Tensor call(const Work& work, const at::Tensor& a, const at::Tensor& b) {
  torch::jit::Stack stack{a, b};
  stack.insert(stack.end(), work.last_arguments.begin(), work.last_arguments.end());
  work.op.callBoxed(stack);
  return std::move(stack.front()).toTensor();
}

at::Tensor local_tensor_of(const std::vector<at::Tensor>& tensors) {
  std::vector<std::pair<std::int64_t, at::Tensor>> by_rank;
  by_rank.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    by_rank.emplace_back(static_cast<std::int64_t>(by_rank.size()), tensor);
  }
  return make_local_tensor(by_rank);
}

// The shortest of `num_rounds` samples of each, taken in turns, so that both meet the same machine.
Seconds measure(const Work& work, std::int64_t num_ranks, std::int64_t side,
                std::int64_t num_rounds) {
  std::vector<at::Tensor> a;
  std::vector<at::Tensor> b;
  for (std::int64_t rank = 0; rank < num_ranks; ++rank) {
    a.push_back(at::full({side, side}, static_cast<double>(rank)));
    b.push_back(at::full({side, side}, static_cast<double>(rank + 1)));
  }
  const at::Tensor local_a = local_tensor_of(a);
  const at::Tensor local_b = local_tensor_of(b);

  const std::function<void()> bare = [&] {
    std::vector<at::Tensor> results;  // all kept until the end, as a LocalTensor keeps them
    results.reserve(a.size());
    for (std::size_t rank = 0; rank < a.size(); ++rank) {
      results.push_back(call(work, a[rank], b[rank]));
    }
  };
  const std::function<void()> local = [&] { call(work, local_a, local_b); };

  const std::int64_t bare_calls = calls_per_sample(bare);
  const std::int64_t local_calls = calls_per_sample(local);
  Seconds shortest;
  for (std::int64_t round = 0; round < num_rounds; ++round) {
    shortest.bare = std::min(shortest.bare, seconds_per_call(bare, bare_calls));
    shortest.local = std::min(shortest.local, seconds_per_call(local, local_calls));
  }
  return shortest;
}

void run(std::int64_t num_rounds) {
  at::set_num_threads(1);
  set_num_cohort_threads(1);
  cover_operators();
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  const std::vector<Work> works{
      {"add", dispatcher.findSchemaOrThrow("aten::add", "Tensor"), {at::Scalar(1)}},
      {"mm", dispatcher.findSchemaOrThrow("aten::mm", ""), {}},
  };
  for (const Work& work : works) {
    for (const std::int64_t side : {4, 128}) {
      for (const std::int64_t num_ranks : {8, 64, 512}) {
        const Seconds seconds = measure(work, num_ranks, side, num_rounds);
        std::printf(
            R"({"op": "%s", "side": %lld, "num_ranks": %lld, "bare_seconds": %.9g, "local_seconds": %.9g})"
            "\n",
            work.name.c_str(), static_cast<long long>(side), static_cast<long long>(num_ranks),
            seconds.bare, seconds.local);
        std::fflush(stdout);
      }
    }
  }
}

}  // namespace
}  // namespace polyrank

int main(int argc, char** argv) {
  try {
    polyrank::run(argc > 1 ? std::max(1L, std::strtol(argv[1], nullptr, 10)) : 40);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
