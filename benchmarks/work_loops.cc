// Times what N ranks compute, as a loop over plain tensors on one thread: the floor for a program
// that runs them in lockstep. Prints one JSON object a line, for work_figures.py.
//
// Usage: polyrank_work_loops NUM_ROUNDS MILLISECONDS ROWS INNER COLUMNS NUM_RANKS...
// On each rank x (ROWS, INNER) goes four times through relu(x @ w), w (INNER, COLUMNS); then the
// ranks' w are summed.
#include <ATen/Functions.h>

#include "loop_timing.h"

namespace {

constexpr int kLayers = 4;

struct Rank {
  at::Tensor x;
  at::Tensor w;
};

void loop(std::span<const Rank> ranks) {
  std::vector<at::Tensor> results;
  results.reserve(ranks.size());
  for (const Rank& rank : ranks) {
    at::Tensor x = rank.x;
    for (int layer = 0; layer < kLayers; ++layer) {
      x = at::relu(at::mm(x, rank.w));
    }
    results.push_back(x);
  }
  at::Tensor sum = ranks.front().w.clone();
  for (const Rank& rank : ranks.subspan(1)) {
    sum.add_(rank.w);
  }
}

void run(const polyrank::Effort& effort, std::span<const std::int64_t> numbers) {
  for (const std::int64_t num_ranks : numbers.subspan(3)) {
    std::vector<Rank> ranks;
    for (std::int64_t rank = 0; rank < num_ranks; ++rank) {
      ranks.push_back({at::randn({numbers[0], numbers[1]}), at::randn({numbers[1], numbers[2]})});
    }
    const double seconds = polyrank::shortest_seconds(effort, [&] { loop(ranks); });
    std::printf(R"({"num_ranks": %lld, "seconds": %.9g})"
                "\n",
                static_cast<long long>(num_ranks), seconds);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return polyrank::run_loops(argc, argv, 4, "ROWS INNER COLUMNS NUM_RANKS...", run);
}
