// Collectives, named as in torch.distributed.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

namespace polyrank {

// NOTE [Collectives in C++]
// Each function calls the operator of c10d that PyTorch's function of that name calls, on all
// groups of the family that `group` stands for; null is the world's group. Roots are group ranks.
// What is called "members" are the ranks of one group, in its order; N is their number.
//
// Launches are asynchronous in form: each gives the Work that PyTorch gives for `async_op=True`,
// with its futures. In lockstep it is complete already, so it may be dropped.
//
// Throws, all of them: CollectiveError where the real backends would refuse too, as for tensors
// whose number of elements or dtype does not fit; DivergenceError, UnsupportedOpError as
// docs/collectives.md tells; UsageError as group_or_world().

using Tensors = std::vector<at::Tensor>;
using Work = c10::intrusive_ptr<c10d::Work>;

// Callers name the fields that they set.

// How a reduction combines values, and on which group. c10d::makePreMulSum() gives PREMUL_SUM.
struct ReduceOptions {
  c10d::ReduceOp op = c10d::ReduceOp::SUM;
  ProcessGroup group = {};
};

// Sizes count rows and may differ between ranks; without them all pieces are equal.
struct AllToAllOptions {
  std::vector<c10::SymInt> output_split_sizes = {};
  std::vector<c10::SymInt> input_split_sizes = {};
  ProcessGroup group = {};
};

// Replaces `tensor` by the reduction over its group.
// Shapes: one for all members.
// Ensures: floating-point values are combined as NOTE [Order of summation] says.
POLYRANK_API Work all_reduce(const at::Tensor& tensor, const ReduceOptions& options = {});

// As all_reduce(), on the root alone: the other members keep their tensors.
POLYRANK_API Work reduce(const at::Tensor& tensor, std::int64_t root,
                         const ReduceOptions& options = {});

// Gives all members the root's tensor.
// Shapes: one for all members.
POLYRANK_API Work broadcast(const at::Tensor& tensor, std::int64_t root,
                            const ProcessGroup& group = {});

// Fills one tensor for each member of the group.
// Shapes: tensor_list[i] as member i's `tensor`; they may differ.
POLYRANK_API Work all_gather(Tensors tensor_list, const at::Tensor& tensor,
                             const ProcessGroup& group = {});

// Fills one tensor with those of all members, in the order of the group.
// Shapes: `output` has N times the elements of `input`, whose shape is one for all members.
POLYRANK_API Work all_gather_single(const at::Tensor& output, const at::Tensor& input,
                                    const ProcessGroup& group = {});

// Gives member i the reduction of the members' i-th tensors.
// Shapes: input_list[i] as member i's `output`; they may differ.
POLYRANK_API Work reduce_scatter(const at::Tensor& output, Tensors input_list,
                                 const ReduceOptions& options = {});

// Gives each member its equal piece of the reduced tensor.
// Shapes: `input` has N times the elements of `output`.
POLYRANK_API Work reduce_scatter_single(const at::Tensor& output, const at::Tensor& input,
                                        const ReduceOptions& options = {});

// Fills the root's list with the members' tensors. All ranks give a list; the others' stays.
// Shapes: gather_list[i] as member i's `tensor`.
POLYRANK_API Work gather(const at::Tensor& tensor, Tensors gather_list, std::int64_t root,
                         const ProcessGroup& group = {});

// Gives each member its place of the root's list. All ranks give a list; the root's counts.
// Shapes: `tensor` on member i as the root's scatter_list[i].
POLYRANK_API Work scatter(const at::Tensor& tensor, Tensors scatter_list, std::int64_t root,
                          const ProcessGroup& group = {});

// Sends the i-th input to member i and fills the i-th output with what member i sent.
// Shapes: output_tensor_list[i] as member i's input for this rank; they may differ.
POLYRANK_API Work all_to_all(Tensors output_tensor_list, Tensors input_tensor_list,
                             const ProcessGroup& group = {});

// As all_to_all() on pieces of one tensor.
// Throws: CollectiveError if a receiver expects another size than the sender sends, naming both.
POLYRANK_API Work all_to_all_single(const at::Tensor& output, const at::Tensor& input,
                                    const AllToAllOptions& options = {});

// Counted in the report; there is nobody to wait for.
POLYRANK_API Work barrier(const ProcessGroup& group = {});

// As barrier(): all ranks arrive.
POLYRANK_API void monitored_barrier(const ProcessGroup& group = {});

// The coalesced collectives run several as one launch, which the report counts once.

POLYRANK_API Work all_reduce_coalesced(Tensors tensors, const ReduceOptions& options = {});

// Shapes: output_tensor_lists[i][k] as member i's input_tensor_list[k].
POLYRANK_API Work all_gather_coalesced(std::vector<Tensors> output_tensor_lists,
                                       Tensors input_tensor_list, const ProcessGroup& group = {});

// Shapes: of each pair as all_gather_single().
POLYRANK_API Work all_gather_single_coalesced(Tensors outputs, Tensors inputs,
                                              const ProcessGroup& group = {});

// Shapes: of each pair as reduce_scatter_single().
POLYRANK_API Work reduce_scatter_single_coalesced(Tensors outputs, Tensors inputs,
                                                  const ReduceOptions& options = {});

}  // namespace polyrank
