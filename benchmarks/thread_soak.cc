// Launches many messages and collectives on ranks that are threads, from C++, and says what memory
// the process has after each tenth: none may be kept for what is over. Prints one JSON object a
// line, for thread_figures.py.
//
// Usage: polyrank_thread_soak NUM_RANKS NUM_MESSAGES NUM_COLLECTIVES
// Ranks stand in a ring; each sends 4 floats to the next one and receives from the one before.
// Then all reduce 4 floats together. A message or a collective counts once, not for each rank.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <polyrank/api/run_ranks.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <span>
#include <vector>

namespace {

constexpr std::int64_t kNumTenths = 10;

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t num_pages = 0;
  statm >> num_pages >> num_pages;  // the second is what is resident
  return num_pages * sysconf(_SC_PAGESIZE);
}

using Launch =
    std::function<void(polyrank::RankContext& context, std::vector<at::Tensor>& tensors)>;

void exchange_with_neighbours(polyrank::RankContext& context, std::vector<at::Tensor>& tensors) {
  const auto size = static_cast<int>(context.world_size());
  const auto rank = static_cast<int>(context.rank());
  context.world().send(tensors, (rank + 1) % size, /*tag=*/0)->wait();
  context.world().recv(tensors, (rank + size - 1) % size, /*tag=*/0)->wait();
}

void reduce_with_all(polyrank::RankContext& context, std::vector<at::Tensor>& tensors) {
  context.world().allreduce(tensors, {})->wait();
}

// Each rank launches `num_launches` times; `counted` is what one launch on each
// rank counts for.
void run(const char* what, std::int64_t num_ranks, std::int64_t num_launches, std::int64_t counted,
         const Launch& launch) {
  using Clock = std::chrono::steady_clock;
  polyrank::run_ranks(num_ranks, [&](polyrank::RankContext& context) {
    std::vector<at::Tensor> tensors{at::zeros({4})};
    const auto start = Clock::now();
    std::int64_t done = 0;
    for (std::int64_t tenth = 1; tenth <= kNumTenths; ++tenth) {
      for (; done < num_launches * tenth / kNumTenths; ++done) {
        launch(context, tensors);
      }
      if (context.rank() == 0) {
        const std::chrono::duration<double> elapsed = Clock::now() - start;
        std::cout << R"({"what": ")" << what << R"(", "done": )" << done * counted
                  << R"(, "resident_bytes": )" << resident_bytes() << R"(, "seconds": )"
                  << elapsed.count() << "}\n"
                  << std::flush;
      }
    }
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::span arguments(argv, static_cast<std::size_t>(argc));
  if (arguments.size() != 4) {
    std::cerr << "usage: " << arguments[0] << " NUM_RANKS NUM_MESSAGES NUM_COLLECTIVES\n";
    return 2;
  }
  const auto number = [&](std::size_t place) -> std::int64_t {
    return std::max(1L, std::strtol(arguments[place], nullptr, 10));
  };
  const std::int64_t num_ranks = number(1);
  try {
    at::set_num_threads(1);
    run("messages", num_ranks, number(2) / num_ranks, num_ranks, exchange_with_neighbours);
    run("collectives", num_ranks, number(3), 1, reduce_with_all);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
