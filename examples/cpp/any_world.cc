// Fits a line to data that is spread over ranks, with process groups as values, in any world:
// examples/any_world.py in C++. With two ranks both print the same line, to the last digit.
//
//   any_world lockstep 2
//   any_world threads 2
//   any_world fake 1000000 17
//   torchrun --nproc-per-node 2 --no-python any_world real
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <polyrank/polyrank.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace dist2 = polyrank::dist2;

constexpr int kSteps = 200;
constexpr double kLearningRate = 0.25;
constexpr std::chrono::seconds kTimeout{60};

// Slope and offset, the same on all ranks.
at::Tensor fit(const dist2::ProcessGroup& group) {
  // Each rank has a piece of the line of its own; in lockstep the number differs between ranks.
  const at::Tensor x = at::linspace(0, 1, 16) + dist2::rank_of(group) % 2;
  const at::Tensor y = 3 * x + 1;
  at::Tensor line = at::zeros({2});
  for (int step = 0; step < kSteps; ++step) {
    const at::Tensor error = line[0] * x + line[1] - y;
    std::vector<at::Tensor> gradient{at::stack({(error * x).mean(), error.mean()})};
    group->allreduce(gradient)->wait();
    line -= kLearningRate * gradient.front() / group->getSize();
  }
  return line;
}

void fit_and_print(const dist2::Endpoint& endpoint = {}, const char* backend = "gloo") {
  const dist2::ProcessGroup group = dist2::new_group(backend, kTimeout, c10::kCPU, {}, endpoint);
  const dist2::ProcessGroupGuard current(group);
  const at::Tensor line = fit(dist2::current_process_group());
  std::ostringstream text;  // one write a line, where ranks share the output
  text << std::setprecision(9) << "y = " << line[0].item<float>() << " x + "
       << line[1].item<float>() << "\n";
  std::cout << text.str();
  group->shutdown();
}

int run(const std::string& world, int num_ranks, int rank) {
  if (world == "real") {
    fit_and_print();
  } else if (world == "lockstep" && num_ranks > 0) {
    const polyrank::LockstepWorld ranks(num_ranks);
    fit_and_print();
  } else if (world == "threads" && num_ranks > 0) {
    polyrank::run_ranks(num_ranks, [](polyrank::RankContext&) { fit_and_print(); });
  } else if (world == "fake" && num_ranks > 0) {
    fit_and_print({.rank = rank, .world_size = num_ranks}, "fake");
  } else {
    std::cerr << "usage: any_world lockstep N | threads N | fake N RANK | real\n";
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "", argc > 2 ? std::atoi(argv[2]) : 0,
               argc > 3 ? std::atoi(argv[3]) : 0);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
