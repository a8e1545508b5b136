// Errors of operators that PyTorch composes of others.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace polyrank {

// NOTE [Errors of composites]
// An operator that is composed of others runs once for all cohorts, down to those others. It
// compares sizes on the way, and where ranks disagree it is told "unequal" (local_node.h). An error
// that it raises then (`item()` of tensors of which one rank's has one element) need not be each
// rank's. So it runs again, whole, on each cohort's plain tensors, and what they raise is told as
// of any operator (NOTE [Errors on some ranks] in cohort_errors.h). Results of that run are not
// used: an operator may have written or drawn before it raised.

// Whether the operator needs the kernel below.
bool is_composite(const c10::OperatorHandle& op);

// The kernel for it, at the first key (first_key.h).
c10::KernelFunction composite_kernel();

}  // namespace polyrank
