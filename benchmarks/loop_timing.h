// What the programs share that time loops over plain tensors on one thread.
#pragma once

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

namespace polyrank {

// How often to repeat a loop: as timing.py's Effort.
struct Effort {
  std::int64_t num_rounds;
  double seconds;  // a loop that took this long sits out the rest, but not the first three rounds
};

// The shortest time that `loop` takes.
template <class Loop>
double shortest_seconds(const Effort& effort, const Loop& loop) {
  using Clock = std::chrono::steady_clock;
  double shortest = std::numeric_limits<double>::infinity();
  double spent = 0;
  for (std::int64_t round = 0; round < effort.num_rounds; ++round) {
    if (round >= 3 && spent > effort.seconds) {
      break;
    }
    const auto start = Clock::now();
    loop();
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    shortest = std::min(shortest, elapsed);
    spent += elapsed;
  }
  return shortest;
}

// Runs `program` with what the command line names, NUM_ROUNDS MILLISECONDS and `num_sizes` or more
// other numbers, of which it gets the others; gives the exit code.
template <class Program>
int run_loops(int argc, char** argv, std::size_t num_sizes, const char* usage,
              const Program& program) {
  std::vector<std::int64_t> numbers;
  for (const char* argument : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    numbers.push_back(std::max(1L, std::strtol(argument, nullptr, 10)));
  }
  if (numbers.size() < 2 + num_sizes) {
    std::fprintf(stderr, "usage: %s NUM_ROUNDS MILLISECONDS %s\n", argv[0], usage);
    return 2;
  }
  try {
    at::set_num_threads(1);
    const Effort effort{.num_rounds = numbers[0], .seconds = static_cast<double>(numbers[1]) / 1e3};
    program(effort, std::span<const std::int64_t>(numbers).subspan(2));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace polyrank
