// Records collectives that no world of ours runs.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/kernels_in_front.h>

namespace polyrank {

// NOTE [Collectives of other backends]
// A world of ours tells the record what it runs. But a collective on meta or fake tensors never
// reaches a world, and gloo, NCCL or PyTorch's fake group know no record. So while a trace is on,
// each operator of the table has kernels of ours in front of those that it has. They call the
// kernel behind them and then look whether the thread has recorded anything meanwhile: if not, they
// record the operator by its arguments. So each launch is in the trace once, told by whoever knows
// most, whatever modes and operators stand in between. The Works of PyTorch's own backends come
// back in a ForwardedWork, which tells where the program waits.

// While it lives, operators of the table are watched.
//
// Thread rule: made and destroyed while no other thread launches collectives.
class POLYRANK_API OperatorWatch {
 public:
  OperatorWatch();
  ~OperatorWatch();
  OperatorWatch(const OperatorWatch&) = delete;
  OperatorWatch& operator=(const OperatorWatch&) = delete;

 private:
  KernelsInFront kernels_;
};

}  // namespace polyrank
