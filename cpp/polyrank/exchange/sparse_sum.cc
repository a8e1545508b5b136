#include <ATen/Functions.h>
#include <polyrank/exchange/sparse_sum.h>

#include <cstddef>
#include <utility>

namespace polyrank {

namespace {

// With its entries in the order of their indices, and without the mark that says so, as gloo
// gathers it.
at::Tensor gathered(const at::Tensor& tensor) {
  const at::Tensor coalesced = tensor.coalesce();
  return at::_sparse_coo_tensor_unsafe(coalesced.indices(), coalesced.values(), tensor.sizes(),
                                       tensor.options());
}

}  // namespace

// Entry by entry, and not all entries coalesced at once: PyTorch sorts equal indices in any order.
at::Tensor sum_of_sparse(const MemberTensors& members) {
  at::Tensor total = gathered(members.front()).clone();
  std::size_t num_added = 1;
  for (const auto& [tensor, end] : members.runs()) {
    const at::Tensor member = gathered(tensor);
    for (std::size_t i = std::exchange(num_added, end); i < end; ++i) {
      total.add_(member);
    }
  }
  return total.coalesce();
}

}  // namespace polyrank
