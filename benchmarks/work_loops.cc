// Times what N ranks compute, as a loop over plain tensors on one thread: the floor for a program
// that runs them in lockstep. Prints one JSON object a line, for work_figures.py.
//
// Usage: polyrank_work_loops NUM_ROUNDS ROWS INNER COLUMNS NUM_RANKS...
// On each rank x (ROWS, INNER) goes four times through relu(x @ w), w (INNER, COLUMNS); then the
// ranks' w are summed.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <span>
#include <vector>

namespace {

constexpr int kLayers = 4;

struct Rank {
  at::Tensor x;
  at::Tensor w;
};

double seconds_of_loop(std::span<const Rank> ranks) {
  const auto start = std::chrono::steady_clock::now();
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
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count();
}

void run(std::span<const std::int64_t> numbers) {
  at::set_num_threads(1);
  const std::int64_t num_rounds = numbers[0];
  for (const std::int64_t num_ranks : numbers.subspan(4)) {
    std::vector<Rank> ranks;
    for (std::int64_t rank = 0; rank < num_ranks; ++rank) {
      ranks.push_back({at::randn({numbers[1], numbers[2]}), at::randn({numbers[2], numbers[3]})});
    }
    double shortest = std::numeric_limits<double>::infinity();
    for (std::int64_t round = 0; round < num_rounds; ++round) {
      shortest = std::min(shortest, seconds_of_loop(ranks));
    }
    std::printf(R"({"num_ranks": %lld, "seconds": %.9g})"
                "\n",
                static_cast<long long>(num_ranks), shortest);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::int64_t> numbers;
  for (const char* argument : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    numbers.push_back(std::max(1L, std::strtol(argument, nullptr, 10)));
  }
  if (numbers.size() < 5) {
    std::fprintf(stderr, "usage: %s NUM_ROUNDS ROWS INNER COLUMNS NUM_RANKS...\n", argv[0]);
    return 2;
  }
  try {
    run(numbers);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
