// Times what collectives give N ranks with tensors of their own, as loops over plain tensors on one
// thread: each result that differs from the others is computed once, into memory of its own. Prints
// one JSON object a line, for collective_figures.py.
//
// Usage: polyrank_collective_loops NUM_ROUNDS MILLISECONDS NUM_ELEMENTS NUM_RANKS...
// Each rank's tensor has NUM_ELEMENTS floats, which the numbers of ranks divide.
#include <ATen/Functions.h>

#include <string>
#include <utility>

#include "loop_timing.h"

namespace {

using Tensors = std::vector<at::Tensor>;

at::Tensor sum(const Tensors& ranks) {
  at::Tensor total = ranks.front().clone();
  for (const at::Tensor& rank : std::span(ranks).subspan(1)) {
    total.add_(rank);
  }
  return total;
}

Tensors reduced(const Tensors& ranks) { return {sum(ranks)}; }

Tensors broadcast(const Tensors& ranks) { return {ranks.front().clone()}; }

Tensors gathered_as_one(const Tensors& ranks) { return {at::cat(ranks)}; }

// Also of a scatter: N copies of what exists.
Tensors copies(const Tensors& ranks) {
  Tensors results;
  results.reserve(ranks.size());
  for (const at::Tensor& rank : ranks) {
    results.push_back(rank.clone());
  }
  return results;
}

Tensors reduce_scattered(const Tensors& ranks) {
  return copies(sum(ranks).chunk(static_cast<std::int64_t>(ranks.size())));
}

Tensors all_to_all(const Tensors& ranks) {
  const auto num_ranks = static_cast<std::int64_t>(ranks.size());
  const std::int64_t piece = ranks.front().numel() / num_ranks;
  Tensors results;
  results.reserve(ranks.size());
  for (std::int64_t receiver = 0; receiver < num_ranks; ++receiver) {
    Tensors pieces;
    pieces.reserve(ranks.size());
    for (const at::Tensor& sender : ranks) {
      pieces.push_back(sender.narrow(0, receiver * piece, piece));
    }
    results.push_back(at::cat(pieces));
  }
  return results;
}

struct Collective {
  const char* name;
  Tensors (*loop)(const Tensors& ranks);
};

constexpr Collective kCollectives[] = {{"all_reduce", reduced},
                                       {"reduce", reduced},
                                       {"broadcast", broadcast},
                                       {"all_gather_single", gathered_as_one},
                                       {"reduce_scatter_single", reduce_scattered},
                                       {"all_to_all_single", all_to_all},
                                       {"gather", copies},
                                       {"scatter", copies},
                                       {"send and recv", copies}};

void run(const polyrank::Effort& effort, std::span<const std::int64_t> numbers) {
  for (const std::int64_t num_ranks : numbers.subspan(1)) {
    Tensors ranks;
    for (std::int64_t rank = 0; rank < num_ranks; ++rank) {
      ranks.push_back(at::full({numbers[0]}, static_cast<double>(rank)));
    }
    for (const Collective& collective : kCollectives) {
      const double seconds =
          polyrank::shortest_seconds(effort, [&] { return collective.loop(ranks); });
      std::printf(R"({"collective": "%s", "num_ranks": %lld, "seconds": %.9g})"
                  "\n",
                  collective.name, static_cast<long long>(num_ranks), seconds);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  return polyrank::run_loops(argc, argv, 2, "NUM_ELEMENTS NUM_RANKS...", run);
}
