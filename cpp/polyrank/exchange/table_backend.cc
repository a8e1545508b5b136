#include <ATen/ScalarOps.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/table_backend.h>

#include <algorithm>
#include <utility>

namespace polyrank {

namespace {

using Tensors = std::vector<at::Tensor>;
using c10d::OpType;

CollectiveCall call_of(const char* op_name) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  return call;
}

[[noreturn]] void refuse(const CollectiveCall& call, const std::string& what) {
  raise(CollectiveError(str_cat(call.spec->op_name, " was given ", what)));
}

const at::Tensor& only(const CollectiveCall& call, const Tensors& tensors) {
  if (tensors.size() != 1 || !tensors.front().defined()) {
    refuse(call, str_cat(tensors.size(),
                         " tensors; it takes the one of the one device that a "
                         "rank has."));
  }
  return tensors.front();
}

// The list of the one device, or none where only the root has any.
Tensors only_list(const CollectiveCall& call, const std::vector<Tensors>& lists) {
  const bool may_be_none =
      call.spec->kind == CollectiveKind::kGather || call.spec->kind == CollectiveKind::kScatter;
  if (lists.size() > 1 || (lists.empty() && !may_be_none)) {
    refuse(call, str_cat(lists.size(),
                         " lists; it takes the one of the one device that a rank "
                         "has."));
  }
  return lists.empty() ? Tensors{} : lists.front();
}

void set_reduce_op(const c10d::ReduceOp& op, CollectiveCall* call) {
  call->reduce_op = static_cast<ReduceOp>(op.op_);
  if (call->reduce_op != ReduceOp::kPremulSum) {
    return;
  }
  const auto* factor = dynamic_cast<const c10d::PreMulSumSupplement*>(op.supplement_.get());
  if (factor == nullptr) {
    refuse(*call, "premul_sum without the factor to multiply by. Scale the tensor and use sum.");
  }
  call->premul_factor = factor->tensor_factor.defined()
                            ? factor->tensor_factor
                            : c10::scalar_to_tensor(factor->double_factor);
}

void add_units(const Tensors& inputs, const Tensors& outputs, CollectiveCall* call) {
  if (inputs.size() != outputs.size()) {
    refuse(*call, str_cat(inputs.size(), " inputs and ", outputs.size(),
                          " outputs; it needs as many of both."));
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    call->units.push_back({{inputs[i]}, {outputs[i]}});
  }
}

std::vector<c10::SymInt> as_sym_ints(const std::vector<std::int64_t>& sizes) {
  return {sizes.begin(), sizes.end()};
}

}  // namespace

TableBackend::Work TableBackend::broadcast(Tensors& tensors,
                                           const c10d::BroadcastOptions& options) {
  CollectiveCall call = call_of("c10d::broadcast_");
  call.root = options.rootRank;
  call.units = {{{only(call, tensors)}, tensors}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::BROADCAST);
}

TableBackend::Work TableBackend::allreduce(Tensors& tensors,
                                           const c10d::AllreduceOptions& options) {
  CollectiveCall call = call_of("c10d::allreduce_");
  set_reduce_op(options.reduceOp, &call);
  call.units = {{{only(call, tensors)}, tensors}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::ALLREDUCE);
}

TableBackend::Work TableBackend::allreduce_sparse(Tensors& tensors,
                                                  const c10d::AllreduceOptions& options) {
  CollectiveCall call = call_of("c10d::allreduce_");
  set_reduce_op(options.reduceOp, &call);
  call.units = {{{only(call, tensors)}, tensors}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::_ALLREDUCE_SPARSE);
}

TableBackend::Work TableBackend::allreduce_coalesced(
    Tensors& tensors, const c10d::AllreduceCoalescedOptions& options) {
  CollectiveCall call = call_of("c10d::allreduce_coalesced_");
  set_reduce_op(options.reduceOp, &call);
  add_units(tensors, tensors, &call);
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::ALLREDUCE_COALESCED);
}

TableBackend::Work TableBackend::reduce(Tensors& tensors, const c10d::ReduceOptions& options) {
  CollectiveCall call = call_of("c10d::reduce_");
  set_reduce_op(options.reduceOp, &call);
  call.root = options.rootRank;
  call.units = {{{only(call, tensors)}, tensors}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::REDUCE);
}

TableBackend::Work TableBackend::allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                                           const c10d::AllgatherOptions& options) {
  CollectiveCall call = call_of("c10d::allgather_");
  call.units = {{{only(call, inputs)}, only_list(call, outputs)}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::ALLGATHER);
}

TableBackend::Work TableBackend::_allgather_base(at::Tensor& output, at::Tensor& input,
                                                 const c10d::AllgatherOptions& options) {
  CollectiveCall call = call_of("c10d::_allgather_base_");
  call.units = {{{input}, {output}}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::_ALLGATHER_BASE);
}

TableBackend::Work TableBackend::allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                                                     const c10d::AllgatherOptions& options) {
  CollectiveCall call = call_of("c10d::allgather_coalesced_");
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    CollectiveUnit unit{{inputs[i]}, {}};
    for (const Tensors& of_member : outputs) {
      if (of_member.size() != inputs.size()) {
        refuse(call, str_cat(inputs.size(), " inputs and a member's list of ", of_member.size(),
                             " outputs; each member's list must have one per input."));
      }
      unit.outputs.push_back(of_member[i]);
    }
    call.units.push_back(std::move(unit));
  }
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::ALLGATHER_COALESCED);
}

TableBackend::Work TableBackend::allgather_into_tensor_coalesced(
    Tensors& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) {
  CollectiveCall call = call_of("c10d::allgather_into_tensor_coalesced_");
  add_units(inputs, outputs, &call);
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::COALESCED);
}

TableBackend::Work TableBackend::gather(std::vector<Tensors>& outputs, Tensors& inputs,
                                        const c10d::GatherOptions& options) {
  CollectiveCall call = call_of("c10d::gather_");
  call.root = options.rootRank;
  call.units = {{{only(call, inputs)}, only_list(call, outputs)}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::GATHER);
}

TableBackend::Work TableBackend::gather_single(at::Tensor& output, at::Tensor& input,
                                               const c10d::GatherOptions& options) {
  CollectiveCall call = call_of("c10d::gather_into_tensor_");
  call.root = options.rootRank;
  call.units = {{{input}, {output}}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::GATHER);
}

TableBackend::Work TableBackend::scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                         const c10d::ScatterOptions& options) {
  CollectiveCall call = call_of("c10d::scatter_");
  call.root = options.rootRank;
  call.units = {{only_list(call, inputs), {only(call, outputs)}}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::SCATTER);
}

TableBackend::Work TableBackend::reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                                const c10d::ReduceScatterOptions& options) {
  CollectiveCall call = call_of("c10d::reduce_scatter_");
  set_reduce_op(options.reduceOp, &call);
  call.units = {{only_list(call, inputs), {only(call, outputs)}}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::REDUCE_SCATTER);
}

TableBackend::Work TableBackend::_reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                                      const c10d::ReduceScatterOptions& options) {
  CollectiveCall call = call_of("c10d::_reduce_scatter_base_");
  set_reduce_op(options.reduceOp, &call);
  call.units = {{{input}, {output}}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::_REDUCE_SCATTER_BASE);
}

TableBackend::Work TableBackend::reduce_scatter_tensor_coalesced(
    Tensors& outputs, Tensors& inputs, const c10d::ReduceScatterOptions& options) {
  CollectiveCall call = call_of("c10d::reduce_scatter_tensor_coalesced_");
  set_reduce_op(options.reduceOp, &call);
  add_units(inputs, outputs, &call);
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::COALESCED);
}

TableBackend::Work TableBackend::alltoall_base(at::Tensor& output, at::Tensor& input,
                                               std::vector<std::int64_t>& output_split_sizes,
                                               std::vector<std::int64_t>& input_split_sizes,
                                               const c10d::AllToAllOptions& options) {
  CollectiveCall call = call_of("c10d::alltoall_base_");
  call.output_split_sizes = as_sym_ints(output_split_sizes);
  call.input_split_sizes = as_sym_ints(input_split_sizes);
  call.units = {{{input}, {output}}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::ALLTOALL_BASE);
}

TableBackend::Work TableBackend::alltoall(Tensors& outputs, Tensors& inputs,
                                          const c10d::AllToAllOptions& options) {
  CollectiveCall call = call_of("c10d::alltoall_");
  call.units = {{inputs, outputs}};
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::ALLTOALL);
}

TableBackend::Work TableBackend::send(Tensors& tensors, int peer, int tag) {
  CollectiveCall call = call_of("c10d::send");
  call.units = {{{only(call, tensors)}, {}}};
  call.peers = {peer};
  call.tags = {tag};
  call.is_send = {true};
  call.is_async = true;
  return launch_message(std::move(call), OpType::SEND);
}

TableBackend::Work TableBackend::recv(Tensors& tensors, int peer, int tag) {
  CollectiveCall call = call_of("c10d::recv_");
  call.units = {{{only(call, tensors)}, tensors}};
  call.peers = {peer};
  call.tags = {tag};
  call.is_send = {false};
  call.is_async = true;
  return launch_message(std::move(call), OpType::RECV);
}

TableBackend::Work TableBackend::recvAnysource(Tensors& tensors, int tag) {
  CollectiveCall call = call_of("c10d::recv_any_source_");
  call.units = {{{only(call, tensors)}, tensors}};
  call.tags = {tag};
  call.is_send = {false};
  call.is_async = true;
  return launch_message(std::move(call), OpType::RECVANYSOURCE);
}

TableBackend::Work TableBackend::barrier(const c10d::BarrierOptions& options) {
  CollectiveCall call = call_of("c10d::barrier");
  call.is_async = options.asyncOp;
  return launch(std::move(call), OpType::BARRIER);
}

void TableBackend::monitoredBarrier(const c10d::BarrierOptions& options, bool /*wait_all_ranks*/) {
  const auto work = launch(call_of("c10d::monitored_barrier_"), OpType::BARRIER);
  const bool is_limited = options.timeout >= std::chrono::milliseconds(0) &&
                          options.timeout != kBackendDefaultTimeout;  // the program gave none
  work->wait(is_limited ? std::max(options.timeout, std::chrono::milliseconds(1)) : kNoTimeout);
}

MergedGroup meet_in_store(c10d::Store& store, const std::string& group_name,
                          std::int64_t global_rank, int rank, int size) {
  const auto key_of = [](int member) { return str_cat("global_rank/", member); };
  store.set(key_of(rank), std::to_string(global_rank));
  MergedGroup group;
  group.members.reserve(static_cast<std::size_t>(size));
  for (int member = 0; member < size; ++member) {
    group.members.push_back(std::stoll(store.get_to_str(key_of(member))));
  }
  if (rank == 0) {
    store.set("name", group_name);
  }
  group.name = store.get_to_str("name");
  return group;
}

}  // namespace polyrank
