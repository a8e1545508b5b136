// c10d's backend interface, read as the table of collectives says.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/export.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/collective_call.h>

#include <cstdint>
#include <exception>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

namespace polyrank {

// Turns each function of c10d::Backend into one CollectiveCall, so that a world has two functions
// to write. The units of a call hold what the function was given; outputs that are the inputs
// stand in both.
//
// Throws, from all: CollectiveError if there is more than the one tensor of the one device that a
// rank has.
class POLYRANK_API TableBackend : public c10d::Backend {
 public:
  using Tensors = std::vector<at::Tensor>;
  using Work = c10::intrusive_ptr<c10d::Work>;

  using c10d::Backend::Backend;

  Work broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  Work allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  Work allreduce_sparse(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  Work allreduce_coalesced(Tensors& tensors,
                           const c10d::AllreduceCoalescedOptions& options) override;
  Work reduce(Tensors& tensors, const c10d::ReduceOptions& options) override;
  Work allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                 const c10d::AllgatherOptions& options) override;
  Work _allgather_base(at::Tensor& output, at::Tensor& input,
                       const c10d::AllgatherOptions& options) override;
  Work allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                           const c10d::AllgatherOptions& options) override;
  Work allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                       const c10d::AllgatherOptions& options) override;
  Work gather(std::vector<Tensors>& outputs, Tensors& inputs,
              const c10d::GatherOptions& options) override;
  // No `override`: c10d's interface has it from PyTorch 2.14 on, and before that nobody calls it.
  virtual Work gather_single(at::Tensor& output, at::Tensor& input,
                             const c10d::GatherOptions& options);
  Work scatter(Tensors& outputs, std::vector<Tensors>& inputs,
               const c10d::ScatterOptions& options) override;
  Work reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                      const c10d::ReduceScatterOptions& options) override;
  Work _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                            const c10d::ReduceScatterOptions& options) override;
  Work reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                       const c10d::ReduceScatterOptions& options) override;
  Work alltoall_base(at::Tensor& output, at::Tensor& input,
                     std::vector<std::int64_t>& output_split_sizes,
                     std::vector<std::int64_t>& input_split_sizes,
                     const c10d::AllToAllOptions& options) override;
  Work alltoall(Tensors& outputs, Tensors& inputs, const c10d::AllToAllOptions& options) override;
  Work send(Tensors& tensors, int peer, int tag) override;
  Work recv(Tensors& tensors, int peer, int tag) override;
  Work recvAnysource(Tensors& tensors, int tag) override;
  Work barrier(const c10d::BarrierOptions& options) override;
  void monitoredBarrier(const c10d::BarrierOptions& options, bool wait_all_ranks) override;

 protected:
  // A collective, and a send or receive (without a peer: from any).
  virtual Work launch(CollectiveCall call, c10d::OpType op_type) = 0;
  virtual Work launch_message(CollectiveCall call, c10d::OpType op_type) = 0;
};

// The group that a merge of groups makes.
struct MergedGroup {
  std::string name;
  std::vector<std::int64_t> members;  // global ranks
};

// What `size` ranks that meet in `store`, each under a `rank` of its own, say of themselves. The
// parts may call the new group differently; it is called as rank 0 does.
MergedGroup meet_in_store(c10d::Store& store, const std::string& group_name,
                          std::int64_t global_rank, int rank, int size);

}  // namespace polyrank
