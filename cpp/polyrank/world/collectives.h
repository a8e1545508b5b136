// Collectives, named and ordered as in torch.distributed.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <polyrank/core/export.h>
#include <polyrank/world/lockstep_world.h>

#include <cstdint>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

namespace polyrank {

// NOTE [Collectives in C++]
// Each function calls the operator of c10d that PyTorch's function of that name calls, on all
// groups of the family that `group` stands for; null is the world's group. They are complete when
// they return. Roots and peers are group ranks. Operators without a function here (coalesced ones,
// `_c10d_functional`) run through the methods of c10d::ProcessGroup or the dispatcher.
// Throws, all of them: CollectiveError where the real backends would refuse too; DivergenceError,
// UnsupportedOpError as docs/collectives.md tells; UsageError as group_or_world().

using Tensors = std::vector<at::Tensor>;

// Replaces `tensor` by the reduction over its group. c10d::makePreMulSum() gives PREMUL_SUM.
POLYRANK_API void all_reduce(const at::Tensor& tensor,
                             const c10d::ReduceOp& op = c10d::ReduceOp::SUM,
                             const ProcessGroup& group = {});

// As all_reduce(), on the root alone: the other members keep their tensors.
POLYRANK_API void reduce(const at::Tensor& tensor, std::int64_t root,
                         const c10d::ReduceOp& op = c10d::ReduceOp::SUM,
                         const ProcessGroup& group = {});

// Gives all members the root's tensor.
POLYRANK_API void broadcast(const at::Tensor& tensor, std::int64_t root,
                            const ProcessGroup& group = {});

// Fills one tensor for each member of the group; sizes may differ.
POLYRANK_API void all_gather(Tensors tensor_list, const at::Tensor& tensor,
                             const ProcessGroup& group = {});

// Fills one tensor with those of all members, in the order of the group.
POLYRANK_API void all_gather_into_tensor(const at::Tensor& output, const at::Tensor& input,
                                         const ProcessGroup& group = {});

// Gives each member its place of the reduced lists.
POLYRANK_API void reduce_scatter(const at::Tensor& output, Tensors input_list,
                                 const c10d::ReduceOp& op = c10d::ReduceOp::SUM,
                                 const ProcessGroup& group = {});

// Gives each member its equal piece of the reduced tensor.
POLYRANK_API void reduce_scatter_tensor(const at::Tensor& output, const at::Tensor& input,
                                        const c10d::ReduceOp& op = c10d::ReduceOp::SUM,
                                        const ProcessGroup& group = {});

// Fills the root's list with the members' tensors. All ranks give a list; the others' stays.
POLYRANK_API void gather(const at::Tensor& tensor, Tensors gather_list, std::int64_t root,
                         const ProcessGroup& group = {});

// Gives each member its place of the root's list. All ranks give a list; the root's counts.
POLYRANK_API void scatter(const at::Tensor& tensor, Tensors scatter_list, std::int64_t root,
                          const ProcessGroup& group = {});

// Sends the i-th input to member i and fills the i-th output with what member i sent; sizes may
// differ.
POLYRANK_API void all_to_all(Tensors output_tensor_list, Tensors input_tensor_list,
                             const ProcessGroup& group = {});

// As all_to_all() on pieces of one tensor. Sizes count rows and may differ between ranks; without
// them all pieces are equal.
POLYRANK_API void all_to_all_single(const at::Tensor& output, const at::Tensor& input,
                                    std::vector<c10::SymInt> output_split_sizes = {},
                                    std::vector<c10::SymInt> input_split_sizes = {},
                                    const ProcessGroup& group = {});

// Counted in the report; there is nobody to wait for.
POLYRANK_API void barrier(const ProcessGroup& group = {});

// Sends to a peer that may differ between ranks; see NOTE [Point-to-point in lockstep].
POLYRANK_API void send(const at::Tensor& tensor, const c10::SymInt& peer,
                       const ProcessGroup& group = {}, int tag = 0);

// Receives what the peer sent.
// Throws: DeadlockError if a rank's message was not sent before.
POLYRANK_API void recv(const at::Tensor& tensor, const c10::SymInt& peer,
                       const ProcessGroup& group = {}, int tag = 0);

// Receives what the peer sent or will send; wait() throws DeadlockError until then.
POLYRANK_API c10::intrusive_ptr<c10d::Work> irecv(const at::Tensor& tensor, const c10::SymInt& peer,
                                                  const ProcessGroup& group = {}, int tag = 0);

}  // namespace polyrank
