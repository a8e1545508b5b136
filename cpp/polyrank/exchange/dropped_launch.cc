#include <ATen/ATen.h>
#include <polyrank/exchange/collective_work.h>
#include <polyrank/exchange/dropped_launch.h>
#include <polyrank/exchange/returned_values.h>

#include <utility>

namespace polyrank {

namespace {

using Sizes = std::vector<c10::SymInt>;

Sizes sizes_of_result(const CollectiveCall& call, const at::Tensor& input,
                      std::int64_t group_size) {
  Sizes sizes = input.sym_sizes().vec();
  const auto size = [&](std::int64_t dim) -> c10::SymInt& {
    return sizes[static_cast<std::size_t>(dim < 0 ? dim + input.dim() : dim)];
  };
  if (call.spec->gather_dim != kAbsent) {
    size(call.gather_dim) = size(call.gather_dim) * group_size;
    size(call.shard_dim) = size(call.shard_dim) / group_size;
  } else if (call.spec->kind == CollectiveKind::kAllGather) {
    size(0) = size(0) * group_size;
  } else if (call.spec->kind == CollectiveKind::kReduceScatter) {
    size(0) = size(0) / group_size;
  } else if (!call.output_split_sizes.empty()) {
    c10::SymInt total = 0;
    for (const c10::SymInt& part : call.output_split_sizes) {
      total = total + part;
    }
    size(0) = std::move(total);
  }
  return sizes;
}

at::Tensor result_without(const CollectiveCall& call, const at::Tensor& input,
                          std::int64_t group_size) {
  const Sizes sizes = sizes_of_result(call, input, group_size);
  return input.sym_sizes() == c10::SymIntArrayRef(sizes) ? input.clone(at::MemoryFormat::Contiguous)
                                                         : input.new_zeros_symint(sizes);
}

}  // namespace

std::vector<c10::IValue> values_without(const CollectiveCall& call,
                                        c10::ArrayRef<c10::IValue> arguments,
                                        std::int64_t group_size) {
  std::vector<at::Tensor> results;
  if (call.spec->destination == Destination::kResults) {
    for (const CollectiveUnit& unit : call.units) {
      results.push_back(result_without(call, unit.inputs.front(), group_size));
    }
  }
  const bool gives_work =
      call.spec->returns == Returns::kWork || call.spec->returns == Returns::kTensorsAndWork;
  c10::intrusive_ptr<c10d::Work> work;
  if (gives_work) {
    work = CompletedWork::make(call.written());
  }
  return returned_values(*call.spec, arguments, std::move(results), std::move(work));
}

}  // namespace polyrank
