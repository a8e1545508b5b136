#include <ATen/Functions.h>
#include <ATen/ops/from_blob.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/world/processes/shared_call.h>

#include <cstring>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

at::Tensor multiplied(const CollectiveCall& call, const at::Tensor& input) {
  return call.premul_factor.defined()
             ? at::mul(input, call.premul_factor.reshape({}).to(input.scalar_type()))
             : input;
}

// Whether anybody reads what this member puts in.
bool is_read(const CollectiveCall& call, std::int64_t group_rank) {
  switch (call.spec->kind) {
    case CollectiveKind::kBroadcast:
      return group_rank == call.root;
    case CollectiveKind::kReceive:
      return false;
    default:
      return true;
  }
}

BoardList<std::int64_t> as_ints(const std::vector<c10::SymInt>& sizes) {
  BoardList<std::int64_t> ints;
  ints.reserve(sizes.size());
  for (const c10::SymInt& size : sizes) {
    ints.push_back(size.expect_int());
  }
  return ints;
}

at::Tensor without_values(const SharedTensor& tensor) {
  return at::empty(tensor.sizes, at::TensorOptions(tensor.dtype).device(at::kMeta));
}

}  // namespace

SharedTensor share(const at::Tensor& tensor, bool with_values) {
  if (tensor.layout() != at::kStrided && tensor.layout() != at::kSparse) {
    throw UnsupportedOpError(str_cat("ranks that are processes do not exchange tensors of layout ",
                                     tensor.layout(), ". Convert them with `to_dense()`."));
  }
  SharedTensor shared{.dtype = tensor.scalar_type(),
                      .sizes = {tensor.sizes().begin(), tensor.sizes().end()},
                      .has_values = with_values && holds_values(tensor)};
  if (!shared.has_values) {
    return shared;
  }
  if (tensor.is_sparse()) {
    shared.parts.push_back(share(tensor._indices()));
    shared.parts.push_back(share(tensor._values()));
    shared.is_coalesced = tensor.is_coalesced();
    return shared;
  }
  const std::size_t num_bytes =
      static_cast<std::size_t>(tensor.numel()) * c10::elementSize(tensor.scalar_type());
  shared.own.reset(static_cast<std::byte*>(allocate_board_memory(num_bytes)));
  shared.values = shared.own.get();
  if (tensor.is_cpu() && tensor.is_contiguous() && !tensor.is_conj() && !tensor.is_neg()) {
    if (num_bytes > 0) {
      std::memcpy(shared.own.get(), tensor.const_data_ptr(), num_bytes);
    }
  } else {
    tensor_of(shared).copy_(tensor);
  }
  return shared;
}

SharedTensor share_values_of(const SharedTensor& tensor) {
  return {.dtype = tensor.dtype,
          .sizes = tensor.sizes,
          .has_values = tensor.has_values,
          .values = tensor.values};
}

at::Tensor tensor_of(const SharedTensor& tensor) {
  if (!tensor.has_values) {
    return without_values(tensor);
  }
  if (!tensor.parts.empty()) {
    return at::_sparse_coo_tensor_unsafe(tensor_of(tensor.parts[0]), tensor_of(tensor.parts[1]),
                                         tensor.sizes, at::TensorOptions(tensor.dtype),
                                         tensor.is_coalesced);
  }
  // The memory is everybody's, and written by whom it was made for alone.
  return at::from_blob(const_cast<std::byte*>(tensor.values), tensor.sizes,
                       at::TensorOptions(tensor.dtype));
}

std::shared_ptr<SharedCall> share_call(const CollectiveCall& call, std::int64_t group_rank) {
  auto shared = make_board_shared<SharedCall>();
  shared->spec = call.spec;
  shared->root = call.root;
  shared->reduce_op = call.reduce_op;
  shared->output_split_sizes = as_ints(call.output_split_sizes);
  shared->input_split_sizes = as_ints(call.input_split_sizes);
  shared->units.reserve(call.units.size());
  for (const CollectiveUnit& unit : call.units) {
    SharedUnit& shared_unit = shared->units.emplace_back();
    shared_unit.inputs.reserve(unit.inputs.size());
    for (const at::Tensor& input : unit.inputs) {
      shared_unit.inputs.push_back(share(multiplied(call, input), is_read(call, group_rank)));
    }
    shared_unit.outputs.reserve(unit.outputs.size());
    for (const at::Tensor& output : unit.outputs) {
      shared_unit.outputs.push_back(share(output, /*with_values=*/false));
    }
  }
  return shared;
}

CollectiveCall call_of(const SharedCall& shared) {
  CollectiveCall call;
  call.spec = shared.spec;
  call.root = shared.root;
  call.reduce_op = shared.reduce_op;
  call.output_split_sizes = {shared.output_split_sizes.begin(), shared.output_split_sizes.end()};
  call.input_split_sizes = {shared.input_split_sizes.begin(), shared.input_split_sizes.end()};
  call.units.reserve(shared.units.size());
  for (const SharedUnit& shared_unit : shared.units) {
    CollectiveUnit& unit = call.units.emplace_back();
    for (const SharedTensor& input : shared_unit.inputs) {
      unit.inputs.push_back(tensor_of(input));
    }
    if (shared.spec->destination == Destination::kInputs) {
      unit.outputs = unit.inputs;
      continue;
    }
    for (const SharedTensor& output : shared_unit.outputs) {
      unit.outputs.push_back(without_values(output));
    }
  }
  return call;
}

}  // namespace polyrank
