#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/backend_rules.h>
#include <polyrank/exchange/call_checks.h>
#include <polyrank/exchange/exchange.h>

#include <algorithm>
#include <string>
#include <vector>

namespace polyrank {

namespace {

using Tensors = std::vector<at::Tensor>;
using Sizes = std::vector<c10::SymInt>;

class Checker {
 public:
  Checker(const CollectiveCall& call, const Caller& caller)
      : call_(call), caller_(caller), tensors_(call.tensors()) {}

  void run() const {
    const CollectiveKind kind = call_.spec->kind;
    if (has_root(kind)) {
      check_place("root", call_.root);
    }
    for (const c10::SymInt& peer : call_.peers) {
      if (const auto plain = peer.maybe_as_int()) {
        check_place("peer", *plain);
      }
    }
    for (const CollectiveUnit& unit : call_.units) {
      check_list(call_.spec->inputs, unit.inputs, "input");
      check_list(call_.spec->outputs, unit.outputs, "output");
    }
    check_dtypes();
    check_layouts();
    if (call_.spec->destination == Destination::kResults || has_symbolic_sizes()) {
      return;
    }
    check_one_dtype_and_device();
    for (const CollectiveUnit& unit : call_.units) {
      check_memory(unit.inputs, ArgumentRole::kInput);
      check_memory(unit.outputs, ArgumentRole::kOutput);
      check_unit(unit);
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    refuse(caller_.group_rank.value_or(0), what);
  }

  [[noreturn]] void refuse(std::int64_t group_rank, const std::string& what) const {
    throw CollectiveError(
        str_cat(caller_.describe(group_rank), ": ", to_string(call_.spec->kind), " ", what));
  }

  bool has_symbolic_sizes() const {
    return std::ranges::any_of(tensors_, [](const at::Tensor& tensor) {
      return tensor.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
    });
  }

  // Whether the rank's list counts.
  bool has_list() const {
    return !has_root(call_.spec->kind) || caller_.group_rank.value_or(call_.root) == call_.root;
  }

  std::int64_t group_size() const { return caller_.group_size; }

  void check_place(const char* role, std::int64_t place) const {
    if (place < 0 || place >= group_size()) {
      refuse(str_cat("names the ", role, " ", place, ", but the group has no group rank ", place,
                     "; valid: 0..", group_size() - 1, "."));
    }
  }

  void check_dtypes() const {
    for (const at::Tensor& tensor : tensors_) {
      if (!takes_dtype(call_.spec->kind, tensor.scalar_type(), tensor.device().type())) {
        refuse(str_cat("was given a ", describe_tensor(tensor), " on ", tensor.device(),
                       "; neither gloo nor NCCL takes that dtype. Convert the tensor first."));
      }
    }
  }

  void check_layouts() const {
    const bool sums =
        call_.spec->kind == CollectiveKind::kAllReduce && call_.reduce_op == ReduceOp::kSum;
    for (const at::Tensor& tensor : tensors_) {
      if (tensor.layout() != c10::kStrided && (!sums || tensor.layout() != c10::kSparse)) {
        refuse(
            str_cat("was given a tensor of ", tensor.layout(),
                    " layout; of those that are not strided, backends sum sparse (COO) tensors by "
                    "all_reduce, and do nothing else. Convert it with `to_dense()` first."));
      }
    }
  }

  void check_one_dtype_and_device() const {
    for (const at::Tensor& tensor : tensors_) {
      const at::Tensor& first = tensors_.front();
      if (tensor.scalar_type() != first.scalar_type() || tensor.device() != first.device()) {
        refuse(str_cat("was given ", describe_tensor(first), " on ", first.device(), " and ",
                       describe_tensor(tensor), " on ", tensor.device(),
                       "; all its tensors must have one dtype and live on one device."));
      }
    }
  }

  void check_memory(const Tensors& tensors, ArgumentRole role) const {
    for (const at::Tensor& tensor : tensors) {
      const c10::DeviceType device = tensor.device().type();
      if (!has_memory_order(tensor, needed_memory_order(*call_.spec, role, device))) {
        refuse(str_cat("was given a ", describe_tensor(tensor), " with strides ", tensor.strides(),
                       ", which is not contiguous: ", backend_of(device),
                       device == c10::kCPU
                           ? " would mistake the order of its elements, or refuse it"
                           : " refuses it",
                       ". Call `.contiguous()` first."));
      }
    }
  }

  void check_unit(const CollectiveUnit& unit) const {
    switch (call_.spec->kind) {
      case CollectiveKind::kAllGather:
        check_gathered(unit.outputs, unit.inputs.front());
        return;
      case CollectiveKind::kReduceScatter:
        check_scattered(unit.inputs, unit.outputs.front());
        return;
      case CollectiveKind::kGather:
        if (has_list()) {
          check_gathered(unit.outputs, unit.inputs.front());
        } else if (is_list(call_.spec->outputs.packing)) {  // else a placeholder
          check_empty("outputs", unit.outputs);
        }
        return;
      case CollectiveKind::kScatter:
        if (has_list()) {
          check_scattered(unit.inputs, unit.outputs.front());
        } else {
          check_empty("inputs", unit.inputs);
        }
        return;
      case CollectiveKind::kAllToAll:
        check_all_to_all(unit);
        return;
      default:
        return;
    }
  }

  void check_empty(const char* which, const Tensors& list) const {
    if (!list.empty() && !caller_.all_give_lists) {
      refuse(str_cat("was given ", list.size(), " ", which, ", but only the root, group rank ",
                     call_.root, ", has any."));
    }
  }

  static bool is_list(Packing packing) {
    return packing == Packing::kPerMember || packing == Packing::kOnePerMember ||
           packing == Packing::kMemberByTensor;
  }

  void check_list(const TensorArgument& argument, const Tensors& list, const char* which) const {
    if (is_list(argument.packing) && has_list() &&
        static_cast<std::int64_t>(list.size()) != group_size()) {
      refuse(str_cat("was given a list of ", list.size(), " ", which,
                     " tensors; it needs one for each of the group's ", group_size(), " ranks."));
    }
  }

  // What a rank puts in, or gets, beside its own place of a list.
  void check_places(const Tensors& list, const Tensors& beside, const char* name) const {
    if (caller_.group_rank) {
      const auto own = static_cast<std::size_t>(*caller_.group_rank);
      check_equal(*caller_.group_rank, list[own], beside[own % beside.size()], name);
      return;
    }
    for (std::size_t own = 0; own < list.size(); ++own) {
      check_equal(static_cast<std::int64_t>(own), list[own], beside[own % beside.size()], name);
    }
  }

  // `whole` has a place for each member's `part`.
  void check_gathered(const Tensors& whole, const at::Tensor& part) const {
    if (is_list(call_.spec->outputs.packing)) {
      check_places(whole, {part}, "this rank's output");
      return;
    }
    check_product(whole.front(), "output", part, "input");
  }

  void check_scattered(const Tensors& whole, const at::Tensor& part) const {
    if (is_list(call_.spec->inputs.packing)) {
      check_places(whole, {part}, "this rank's input");
      return;
    }
    check_product(whole.front(), "input", part, "output");
  }

  void check_equal(std::int64_t group_rank, const at::Tensor& a, const at::Tensor& b,
                   const char* name) const {
    if (a.numel() != b.numel()) {
      refuse(group_rank, str_cat("was given ", describe_tensor(a), " as ", name, " beside ",
                                 describe_tensor(b), "; they must have as many elements."));
    }
  }

  void check_product(const at::Tensor& whole, const char* whole_name, const at::Tensor& part,
                     const char* part_name) const {
    if (whole.numel() != part.numel() * group_size()) {
      refuse(str_cat("was given the ", whole_name, " ", describe_tensor(whole), " and the ",
                     part_name, " ", describe_tensor(part), "; the ", whole_name, " must have ",
                     group_size(),
                     " times as many elements, one part for each member. Allocate the "
                     "output with that size."));
    }
  }

  void check_all_to_all(const CollectiveUnit& unit) const {
    if (call_.spec->inputs.packing == Packing::kPerMember) {
      check_places(unit.outputs, unit.inputs, "what this rank gets of itself");
      return;
    }
    const bool is_even = call_.input_split_sizes.empty() && call_.output_split_sizes.empty();
    const at::Tensor& input = unit.inputs.front();
    const bool cuts_elements = is_even && input.is_cpu();  // as gloo does, where NCCL cuts rows
    if (!cuts_elements || input.numel() % group_size() != 0) {
      check_splits("input", call_.input_split_sizes, unit.inputs.front());
      check_splits("output", call_.output_split_sizes, unit.outputs.front());
    }
    if (is_even) {
      check_equal(caller_.group_rank.value_or(0), unit.outputs.front(), unit.inputs.front(),
                  "the output");
    }
  }

  void check_splits(const char* which, const Sizes& sizes, const at::Tensor& tensor) const {
    const std::int64_t rows = tensor.dim() == 0 ? 1 : tensor.size(0);
    if (sizes.empty()) {
      if (rows % group_size() != 0) {
        refuse(str_cat("cuts the ", which, " ", describe_tensor(tensor), " into ", group_size(),
                       " equal pieces of rows, which leaves a rest. Pad it or give split sizes."));
      }
      return;
    }
    std::int64_t total = 0;
    for (const c10::SymInt& size : sizes) {
      const auto plain = size.maybe_as_int();
      if (!plain) {
        return;
      }
      if (*plain < 0) {
        refuse(str_cat("was given the ", which, " split size ", size, "; none can be negative."));
      }
      total += *plain;
    }
    if (static_cast<std::int64_t>(sizes.size()) != group_size() || total != rows) {
      refuse(str_cat("splits the ", which, " ", describe_tensor(tensor), " into ", sizes.size(),
                     " pieces of together ", total, " rows; it must be ", group_size(),
                     " pieces, of together ", rows, "."));
    }
  }

  const CollectiveCall& call_;
  const Caller& caller_;
  Tensors tensors_;  // all of the call
};

}  // namespace

void check_call(const CollectiveCall& call, const Caller& caller) { Checker(call, caller).run(); }

}  // namespace polyrank
