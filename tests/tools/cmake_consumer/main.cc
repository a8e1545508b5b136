// A C++ program that uses the installed package as any other would.
#include <ATen/Functions.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/engine/local_tensor.h>

#include <cstdlib>
#include <iostream>

int main() {
  const at::Tensor ones = at::ones({2});
  const at::Tensor local = polyrank::make_local_tensor({{0, ones}, {1, ones.add(1)}});
  std::cout << polyrank::ranks_of(local).to_string() << '\n';
  return polyrank::on_rank(local, 1).sum().item<double>() == 4 ? EXIT_SUCCESS : EXIT_FAILURE;
}
