#include <polyrank/world/collective_call.h>
#include <polyrank/world/collectives.h>

#include <utility>

namespace polyrank {

void all_reduce(const at::Tensor& tensor, const c10d::ReduceOp& op, const ProcessGroup& group) {
  Tensors tensors{tensor};
  group_or_world(group)->allreduce(tensors, {.reduceOp = op});
}

void reduce(const at::Tensor& tensor, std::int64_t root, const c10d::ReduceOp& op,
            const ProcessGroup& group) {
  Tensors tensors{tensor};
  group_or_world(group)->reduce(tensors, {.reduceOp = op, .rootRank = root});
}

void broadcast(const at::Tensor& tensor, std::int64_t root, const ProcessGroup& group) {
  Tensors tensors{tensor};
  group_or_world(group)->broadcast(tensors, {.rootRank = root});
}

void all_gather(Tensors tensor_list, const at::Tensor& tensor, const ProcessGroup& group) {
  std::vector<Tensors> outputs{std::move(tensor_list)};
  Tensors inputs{tensor};
  group_or_world(group)->allgather(outputs, inputs);
}

void all_gather_into_tensor(const at::Tensor& output, const at::Tensor& input,
                            const ProcessGroup& group) {
  at::Tensor out = output;
  at::Tensor in = input;
  group_or_world(group)->all_gather_single(out, in);
}

void reduce_scatter(const at::Tensor& output, Tensors input_list, const c10d::ReduceOp& op,
                    const ProcessGroup& group) {
  Tensors outputs{output};
  std::vector<Tensors> inputs{std::move(input_list)};
  group_or_world(group)->reduce_scatter(outputs, inputs, {.reduceOp = op});
}

void reduce_scatter_tensor(const at::Tensor& output, const at::Tensor& input,
                           const c10d::ReduceOp& op, const ProcessGroup& group) {
  at::Tensor out = output;
  at::Tensor in = input;
  group_or_world(group)->reduce_scatter_single(out, in, {.reduceOp = op});
}

void gather(const at::Tensor& tensor, Tensors gather_list, std::int64_t root,
            const ProcessGroup& group) {
  std::vector<Tensors> outputs{std::move(gather_list)};
  Tensors inputs{tensor};
  group_or_world(group)->gather(outputs, inputs, {.rootRank = root});
}

void scatter(const at::Tensor& tensor, Tensors scatter_list, std::int64_t root,
             const ProcessGroup& group) {
  Tensors outputs{tensor};
  std::vector<Tensors> inputs{std::move(scatter_list)};
  group_or_world(group)->scatter(outputs, inputs, {.rootRank = root});
}

void all_to_all(Tensors output_tensor_list, Tensors input_tensor_list, const ProcessGroup& group) {
  group_or_world(group)->alltoall(output_tensor_list, input_tensor_list);
}

void all_to_all_single(const at::Tensor& output, const at::Tensor& input,
                       std::vector<c10::SymInt> output_split_sizes,
                       std::vector<c10::SymInt> input_split_sizes, const ProcessGroup& group) {
  at::Tensor out = output;
  at::Tensor in = input;
  std::vector<std::int64_t> given_with_the_guard;
  const ProcessGroup named = group_or_world(group);
  const RankDependentArgumentsGuard guard({.root = std::nullopt,
                                           .output_split_sizes = std::move(output_split_sizes),
                                           .input_split_sizes = std::move(input_split_sizes)});
  named->all_to_all_single(out, in, given_with_the_guard, given_with_the_guard);
}

void barrier(const ProcessGroup& group) { group_or_world(group)->barrier(); }

void send(const at::Tensor& tensor, const c10::SymInt& peer, const ProcessGroup& group, int tag) {
  Tensors tensors{tensor};
  const ProcessGroup named = group_or_world(group);
  const RankDependentArgumentsGuard guard(
      {.root = peer, .output_split_sizes = {}, .input_split_sizes = {}});
  named->send(tensors, /*dstRank=*/0, tag);
}

void recv(const at::Tensor& tensor, const c10::SymInt& peer, const ProcessGroup& group, int tag) {
  irecv(tensor, peer, group, tag)->wait();
}

c10::intrusive_ptr<c10d::Work> irecv(const at::Tensor& tensor, const c10::SymInt& peer,
                                     const ProcessGroup& group, int tag) {
  Tensors tensors{tensor};
  const ProcessGroup named = group_or_world(group);
  const RankDependentArgumentsGuard guard(
      {.root = peer, .output_split_sizes = {}, .input_split_sizes = {}});
  return named->recv(tensors, /*srcRank=*/0, tag);
}

}  // namespace polyrank
