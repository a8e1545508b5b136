#include <polyrank/exchange/member_tensors.h>

#include <algorithm>

namespace polyrank {

MemberTensors::MemberTensors(c10::ArrayRef<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors) {
    append(tensor);
  }
}

void MemberTensors::append(const at::Tensor& tensor, std::size_t count) {
  if (count == 0) {
    return;
  }
  if (!runs_.empty() && runs_.back().tensor.is_same(tensor)) {
    runs_.back().end += count;
  } else {
    runs_.push_back({.tensor = tensor, .end = size() + count});
  }
}

const at::Tensor& MemberTensors::operator[](std::size_t member) const {
  return std::ranges::upper_bound(runs_, member, {}, &Run::end)->tensor;
}

std::vector<at::Tensor> MemberTensors::by_member() const {
  std::vector<at::Tensor> tensors;
  tensors.reserve(size());
  for (const Run& run : runs_) {
    tensors.resize(run.end, run.tensor);
  }
  return tensors;
}

}  // namespace polyrank
