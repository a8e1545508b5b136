// What the members of a group put into a collective, in as few tensors as there are.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/core/export.h>

#include <cstddef>
#include <vector>

namespace polyrank {

// One tensor per member, in the order of the group. Members in a row that hold the same tensor are
// one run, so that a group of a million equal ranks takes no more than one of two.
class POLYRANK_API MemberTensors {
 public:
  struct Run {
    at::Tensor tensor;
    std::size_t end;  // the first member after the run
  };

  MemberTensors() = default;
  explicit MemberTensors(c10::ArrayRef<at::Tensor> tensors);

  // The next `count` members hold `tensor`; none do where it is 0.
  void append(const at::Tensor& tensor, std::size_t count = 1);

  std::size_t size() const noexcept { return runs_.empty() ? 0 : runs_.back().end; }
  const std::vector<Run>& runs() const noexcept { return runs_; }

  // Requires: there is a member.
  const at::Tensor& front() const { return runs_.front().tensor; }
  // Requires: member < size()
  // Cost: the logarithm of the number of runs.
  const at::Tensor& operator[](std::size_t member) const;

  // One tensor per member. Cost: grows with size().
  std::vector<at::Tensor> by_member() const;

 private:
  std::vector<Run> runs_;  // invariant: no two in a row hold the same tensor, and none is empty
};

}  // namespace polyrank
