// Kernels of ours in front of those that operators of the table of collectives have.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/core/export.h>

#include <functional>
#include <vector>

namespace polyrank {

// While it lives, each operator of the table that launches or waits has a kernel of ours at every
// key where it has one of its own.
//
// Invariants: (1) what is made later stands in front of what was made before
//             (2) with it go the kernels: the operators have theirs again
// Thread rule: made and destroyed while no other thread launches collectives.
class POLYRANK_API KernelsInFront {
 public:
  // Makes the one that stands in front of `behind`, and calls it.
  using Make = std::function<c10::KernelFunction(const CollectiveSpec& spec,
                                                 c10::SafeKernelFunction behind)>;

  explicit KernelsInFront(const Make& make);
  ~KernelsInFront();
  KernelsInFront(const KernelsInFront&) = delete;
  KernelsInFront& operator=(const KernelsInFront&) = delete;

 private:
  std::vector<c10::RegistrationHandleRAII> handles_;
};

}  // namespace polyrank
