#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/world/fake/fake_checks.h>

#include <numeric>
#include <vector>

namespace polyrank {

namespace {

using Tensors = std::vector<at::Tensor>;
using Sizes = std::vector<c10::SymInt>;

class Checker {
 public:
  Checker(const CollectiveCall& call, const FakeCaller& caller) : call_(call), caller_(caller) {}

  void run() const {
    const CollectiveKind kind = call_.spec->kind;
    if (has_root(kind)) {
      check_place("root", call_.root);
    }
    for (const c10::SymInt& peer : call_.peers) {
      check_place("peer", peer.expect_int());
    }
    check_tensors();
    for (const CollectiveUnit& unit : call_.units) {
      check_unit(unit);
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw CollectiveError(
        str_cat(caller_.description, ": ", to_string(call_.spec->kind), " ", what));
  }

  bool is_root() const { return call_.root == caller_.group_rank; }
  std::int64_t group_size() const { return caller_.group_size; }

  void check_place(const char* role, std::int64_t place) const {
    if (place < 0 || place >= group_size()) {
      refuse(str_cat("names group rank ", place, " as its ", role, "; the group has ", group_size(),
                     " members, 0..", group_size() - 1, "."));
    }
  }

  // One dtype and device; memory as NCCL takes it.
  void check_tensors() const {
    const Tensors tensors = call_.tensors();
    for (const at::Tensor& tensor : tensors) {
      const at::Tensor& first = tensors.front();
      if (tensor.scalar_type() != first.scalar_type() || tensor.device() != first.device()) {
        refuse(str_cat("was given ", describe_tensor(first), " on ", first.device(), " and ",
                       describe_tensor(tensor), " on ", tensor.device(),
                       "; all its tensors must have one dtype and live on one device."));
      }
      if (takes_raw_memory() && tensor.layout() == c10::kStrided &&
          !tensor.is_contiguous(tensor.suggest_memory_format())) {
        refuse(str_cat("was given a ", describe_tensor(tensor), " with strides ", tensor.strides(),
                       ", which is not contiguous. Call `.contiguous()` first."));
      }
    }
  }

  // Lists of one tensor for each member go through a buffer, which is contiguous whatever they are.
  bool takes_raw_memory() const {
    const Packing inputs = call_.spec->inputs.packing;
    const Packing outputs = call_.spec->outputs.packing;
    const auto is_copied = [](Packing packing) {
      return packing == Packing::kOnePerMember || packing == Packing::kMemberByTensor;
    };
    return !is_copied(inputs) && !is_copied(outputs);
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
        if (is_root()) {
          check_gathered(unit.outputs, unit.inputs.front());
        } else if (is_list(call_.spec->outputs.packing)) {  // else a placeholder
          check_empty("outputs", unit.outputs);
        }
        return;
      case CollectiveKind::kScatter:
        if (is_root()) {
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
    if (!list.empty()) {
      refuse(str_cat("was given ", list.size(), " ", which, ", but only the root, group rank ",
                     call_.root, ", has any."));
    }
  }

  void check_length(const char* which, const Tensors& list) const {
    if (static_cast<std::int64_t>(list.size()) != group_size()) {
      refuse(str_cat("was given a list of ", list.size(), " ", which, "; it needs ", group_size(),
                     ", one for each member."));
    }
  }

  static bool is_list(Packing packing) {
    return packing != Packing::kTensor && packing != Packing::kCoalesced;
  }

  // `whole` has a place for each member's `part`.
  void check_gathered(const Tensors& whole, const at::Tensor& part) const {
    if (is_list(call_.spec->outputs.packing)) {
      check_length("outputs", whole);
      check_equal(whole[static_cast<std::size_t>(caller_.group_rank)], part, "this rank's output");
      return;
    }
    check_product(whole.front(), "output", part, "input");
  }

  void check_scattered(const Tensors& whole, const at::Tensor& part) const {
    if (is_list(call_.spec->inputs.packing)) {
      check_length("inputs", whole);
      check_equal(whole[static_cast<std::size_t>(caller_.group_rank)], part, "this rank's input");
      return;
    }
    check_product(whole.front(), "input", part, "output");
  }

  void check_equal(const at::Tensor& a, const at::Tensor& b, const char* name) const {
    if (a.numel() != b.numel()) {
      refuse(str_cat("was given ", describe_tensor(a), " as ", name, " beside ", describe_tensor(b),
                     "; they must have as many elements."));
    }
  }

  void check_product(const at::Tensor& whole, const char* whole_name, const at::Tensor& part,
                     const char* part_name) const {
    if (whole.numel() != part.numel() * group_size()) {
      refuse(str_cat("was given the ", whole_name, " ", describe_tensor(whole), " and the ",
                     part_name, " ", describe_tensor(part), "; the ", whole_name, " must have ",
                     group_size(), " times as many elements, one part for each member."));
    }
  }

  void check_all_to_all(const CollectiveUnit& unit) const {
    if (call_.spec->inputs.packing == Packing::kPerMember) {
      check_length("inputs", unit.inputs);
      check_length("outputs", unit.outputs);
      const auto own = static_cast<std::size_t>(caller_.group_rank);
      check_equal(unit.outputs[own], unit.inputs[own], "what this rank gets of itself");
      return;
    }
    check_splits("input", call_.input_split_sizes, unit.inputs.front());
    check_splits("output", call_.output_split_sizes, unit.outputs.front());
    if (call_.input_split_sizes.empty() && call_.output_split_sizes.empty()) {
      check_equal(unit.outputs.front(), unit.inputs.front(), "the output");
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
      if (size.expect_int() < 0) {
        refuse(str_cat("was given the ", which, " split size ", size, "; none can be negative."));
      }
      total += size.expect_int();
    }
    if (static_cast<std::int64_t>(sizes.size()) != group_size() || total != rows) {
      refuse(str_cat("splits the ", which, " ", describe_tensor(tensor), " into ", sizes.size(),
                     " pieces of together ", total, " rows; it must be ", group_size(),
                     " pieces, of together ", rows, "."));
    }
  }

  const CollectiveCall& call_;
  const FakeCaller& caller_;
};

}  // namespace

void check_fake_call(const CollectiveCall& call, const FakeCaller& caller) {
  Checker(call, caller).run();
}

}  // namespace polyrank
