#include <polyrank/api/collectives.h>
#include <polyrank/exchange/collective_call.h>

#include <utility>

namespace polyrank {

Work all_reduce(const at::Tensor& tensor, const ReduceOptions& options) {
  Tensors tensors{tensor};
  return group_or_world(options.group)->allreduce(tensors, {.reduceOp = options.op});
}

Work reduce(const at::Tensor& tensor, std::int64_t root, const ReduceOptions& options) {
  Tensors tensors{tensor};
  return group_or_world(options.group)->reduce(tensors, {.reduceOp = options.op, .rootRank = root});
}

Work broadcast(const at::Tensor& tensor, std::int64_t root, const ProcessGroup& group) {
  Tensors tensors{tensor};
  return group_or_world(group)->broadcast(tensors, {.rootRank = root});
}

Work all_gather(Tensors tensor_list, const at::Tensor& tensor, const ProcessGroup& group) {
  std::vector<Tensors> outputs{std::move(tensor_list)};
  Tensors inputs{tensor};
  return group_or_world(group)->allgather(outputs, inputs);
}

Work all_gather_single(const at::Tensor& output, const at::Tensor& input,
                       const ProcessGroup& group) {
  at::Tensor out = output;
  at::Tensor in = input;
  return group_or_world(group)->all_gather_single(out, in);
}

Work reduce_scatter(const at::Tensor& output, Tensors input_list, const ReduceOptions& options) {
  Tensors outputs{output};
  std::vector<Tensors> inputs{std::move(input_list)};
  return group_or_world(options.group)->reduce_scatter(outputs, inputs, {.reduceOp = options.op});
}

Work reduce_scatter_single(const at::Tensor& output, const at::Tensor& input,
                           const ReduceOptions& options) {
  at::Tensor out = output;
  at::Tensor in = input;
  return group_or_world(options.group)->reduce_scatter_single(out, in, {.reduceOp = options.op});
}

Work gather(const at::Tensor& tensor, Tensors gather_list, std::int64_t root,
            const ProcessGroup& group) {
  std::vector<Tensors> outputs{std::move(gather_list)};
  Tensors inputs{tensor};
  return group_or_world(group)->gather(outputs, inputs, {.rootRank = root});
}

Work scatter(const at::Tensor& tensor, Tensors scatter_list, std::int64_t root,
             const ProcessGroup& group) {
  Tensors outputs{tensor};
  std::vector<Tensors> inputs{std::move(scatter_list)};
  return group_or_world(group)->scatter(outputs, inputs, {.rootRank = root});
}

Work all_to_all(Tensors output_tensor_list, Tensors input_tensor_list, const ProcessGroup& group) {
  return group_or_world(group)->alltoall(output_tensor_list, input_tensor_list);
}

Work all_to_all_single(const at::Tensor& output, const at::Tensor& input,
                       const AllToAllOptions& options) {
  at::Tensor out = output;
  at::Tensor in = input;
  std::vector<std::int64_t> given_with_the_guard;
  const ProcessGroup named = group_or_world(options.group);
  const RankDependentArgumentsGuard guard({.root = std::nullopt,
                                           .output_split_sizes = options.output_split_sizes,
                                           .input_split_sizes = options.input_split_sizes});
  return named->all_to_all_single(out, in, given_with_the_guard, given_with_the_guard);
}

Work barrier(const ProcessGroup& group) { return group_or_world(group)->barrier(); }

void monitored_barrier(const ProcessGroup& group) { group_or_world(group)->monitoredBarrier({}); }

Work all_reduce_coalesced(Tensors tensors, const ReduceOptions& options) {
  c10d::AllreduceCoalescedOptions coalesced;
  coalesced.reduceOp = options.op;
  return group_or_world(options.group)->allreduce_coalesced(tensors, coalesced);
}

Work all_gather_coalesced(std::vector<Tensors> output_tensor_lists, Tensors input_tensor_list,
                          const ProcessGroup& group) {
  return group_or_world(group)->allgather_coalesced(output_tensor_lists, input_tensor_list);
}

Work all_gather_single_coalesced(Tensors outputs, Tensors inputs, const ProcessGroup& group) {
  return group_or_world(group)->all_gather_single_coalesced(outputs, inputs);
}

Work reduce_scatter_single_coalesced(Tensors outputs, Tensors inputs,
                                     const ReduceOptions& options) {
  return group_or_world(options.group)
      ->reduce_scatter_single_coalesced(outputs, inputs, {.reduceOp = options.op});
}

}  // namespace polyrank
