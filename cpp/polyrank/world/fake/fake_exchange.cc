#include <ATen/Functions.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/world/fake/fake_exchange.h>

#include <algorithm>
#include <vector>

namespace polyrank {

namespace {

using Tensors = std::vector<at::Tensor>;

// Rows from..from+count of a tensor.
struct Rows {
  std::int64_t from;
  std::int64_t count;
};

// The exchange of one unit, by kind.
class Exchange {
 public:
  Exchange(const CollectiveCall& call, std::int64_t group_rank, std::int64_t group_size)
      : call_(call), group_rank_(group_rank), group_size_(group_size) {}

  void mirror(const CollectiveUnit& unit) {
    switch (call_.spec->kind) {
      case CollectiveKind::kAllReduce:
        copy(unit.outputs.front(), fold(unit.inputs.front()));
        return;
      case CollectiveKind::kReduce:
        if (is_root()) {
          copy(unit.outputs.front(), fold(unit.inputs.front()));
        }
        return;
      case CollectiveKind::kBroadcast:
        return;  // the root's values are this rank's
      case CollectiveKind::kAllGather:
        gather(unit);
        return;
      case CollectiveKind::kGather:
        if (is_root()) {
          gather(unit);
        }
        return;
      case CollectiveKind::kReduceScatter:
        copy(unit.outputs.front(), fold(own_part(unit.inputs)));
        return;
      case CollectiveKind::kScatter:
        if (is_root()) {
          copy(unit.outputs.front(), own_part(unit.inputs));
        } else {
          scatter(unit);
        }
        return;
      case CollectiveKind::kAllToAll:
        if (call_.spec->inputs.packing == Packing::kPerMember) {
          all_to_all_list(unit);
        } else {
          all_to_all(unit);
        }
        return;
      default:
        throw InternalError(str_cat("mirror() was asked for ", to_string(call_.spec->kind)));
    }
  }

  void imitate_pytorch(const CollectiveUnit& unit) {
    switch (call_.spec->kind) {
      case CollectiveKind::kAllGather:
        gather(unit);
        return;
      case CollectiveKind::kGather:
        if (is_root()) {
          gather(unit);
        }
        return;
      case CollectiveKind::kReduceScatter:
        copy(unit.outputs.front(), own_part(unit.inputs));
        return;
      case CollectiveKind::kScatter:
        if (is_root()) {
          copy(unit.outputs.front(), own_part(unit.inputs));
        }
        return;
      case CollectiveKind::kAllToAll:
        copy_each(unit);
        return;
      default:
        return;
    }
  }

  std::string unknown;

 private:
  bool is_root() const { return call_.root == group_rank_; }

  at::Tensor fold(const at::Tensor& member) const {
    if (call_.reduce_op != ReduceOp::kPremulSum) {
      return fold_equal_members(call_.reduce_op, member, group_size_);
    }
    // The factor, which may live on another device or be wider, does not change the dtype.
    const at::Tensor scaled =
        at::mul(member, call_.premul_factor.to(member.device())).to(member.scalar_type());
    return fold_equal_members(call_.reduce_op, scaled, group_size_);
  }

  void copy(const at::Tensor& output, const at::Tensor& source) {
    if (!fill_cyclically(output, source)) {
      unknown = "what fills an output that has elements, when the input has none";
    }
  }

  // Checked here too, for whoever turned the checks off.
  const at::Tensor& own_of(const Tensors& list) const {
    if (static_cast<std::size_t>(group_rank_) >= list.size()) {
      throw CollectiveError(str_cat(to_string(call_.spec->kind), " was given a list of ",
                                    list.size(), " tensors, with none for group rank ", group_rank_,
                                    "."));
    }
    return list[static_cast<std::size_t>(group_rank_)];
  }

  // The part of a list, or of one tensor, that goes to this rank.
  at::Tensor own_part(const Tensors& whole) const {
    const Packing packing = call_.spec->inputs.packing;
    return packing == Packing::kOnePerMember ? own_of(whole) : even_part(whole.front());
  }

  at::Tensor even_part(const at::Tensor& whole) const {
    const std::int64_t count = whole.numel() / group_size_;
    return whole.reshape({-1}).narrow(0, group_rank_ * count, count);
  }

  void gather(const CollectiveUnit& unit) {
    for (const at::Tensor& output : unit.outputs) {
      copy(output, unit.inputs.front());
    }
  }

  void scatter(const CollectiveUnit& unit) {
    unit.outputs.front().zero_();
    unknown = str_cat("what group rank ", call_.root, " scatters");
  }

  // Each peer sends what this rank would send to itself.
  void all_to_all_list(const CollectiveUnit& unit) {
    for (const at::Tensor& output : unit.outputs) {
      copy(output, own_of(unit.inputs));
    }
  }

  void all_to_all(const CollectiveUnit& unit) {
    const at::Tensor& input = unit.inputs.front();
    const at::Tensor& output = unit.outputs.front();
    const Rows sent = rows(input, call_.input_split_sizes, group_rank_);
    const at::Tensor piece = input.dim() == 0 ? input : input.narrow(0, sent.from, sent.count);
    const auto expects = [&](const c10::SymInt& size) { return size.expect_int() == sent.count; };
    const auto& sizes = call_.output_split_sizes;
    if (sizes.empty() || std::all_of(sizes.begin(), sizes.end(), expects)) {
      copy(output, piece);
      return;
    }
    unknown = str_cat("who sends how many rows: by this rank's input split sizes each peer sends ",
                      sent.count, ", and its output split sizes say otherwise");
    // A rank that keeps nothing for itself (a permutation) gets what it sends to others.
    const at::Tensor& like = sent.count > 0 ? piece : input;
    std::int64_t from = 0;
    for (const c10::SymInt& size : sizes) {
      fill_cyclically(output.narrow(0, from, size.expect_int()), like);
      from += size.expect_int();
    }
  }

  // PyTorch's all-to-all: places of the output are filled from the start of the input.
  void copy_each(const CollectiveUnit& unit) {
    const auto& sizes = call_.output_split_sizes;
    if (sizes.empty()) {
      for (std::size_t i = 0; i < unit.outputs.size(); ++i) {
        copy(unit.outputs[i], unit.inputs.at(i));
      }
      return;
    }
    std::int64_t from = 0;
    for (const c10::SymInt& size : sizes) {
      copy(unit.outputs.front().narrow(0, from, size.expect_int()), unit.inputs.front());
      from += size.expect_int();
    }
  }

  Rows rows(const at::Tensor& tensor, const std::vector<c10::SymInt>& sizes,
            std::int64_t member) const {
    const std::int64_t length = tensor.dim() == 0 ? 1 : tensor.size(0);
    if (sizes.empty()) {
      return {member * (length / group_size_), length / group_size_};
    }
    if (static_cast<std::size_t>(member) >= sizes.size()) {
      throw CollectiveError(str_cat("all_to_all was given ", sizes.size(),
                                    " split sizes, with none for group rank ", member, "."));
    }
    Rows found{0, 0};
    for (std::int64_t i = 0; i <= member; ++i) {
      found.from += found.count;
      found.count = sizes[static_cast<std::size_t>(i)].expect_int();
    }
    return found;
  }

  const CollectiveCall& call_;
  std::int64_t group_rank_;
  std::int64_t group_size_;
};

}  // namespace

bool fill_cyclically(const at::Tensor& output, const at::Tensor& source) {
  const std::int64_t needed = output.numel();
  const std::int64_t given = source.numel();
  if (needed == 0) {
    return true;
  }
  if (given == 0) {
    output.zero_();
    return false;
  }
  if (needed == given) {
    output.copy_(source.sizes() == output.sizes() ? source : source.reshape(output.sizes()));
    return true;
  }
  // In-place collectives give a part of the output as input.
  const bool overlaps = output.has_storage() && source.has_storage() && output.is_alias_of(source);
  const at::Tensor flat = (overlaps ? source.clone() : source).reshape({1, -1});
  if (needed % given == 0 && output.is_contiguous()) {
    output.view({needed / given, given}).copy_(flat);  // each row; no memory of its own
    return true;
  }
  const std::int64_t times = (needed + given - 1) / given;
  output.copy_(
      flat.expand({times, given}).reshape({-1}).narrow(0, 0, needed).reshape(output.sizes()));
  return true;
}

namespace {

using ExchangeUnit = void (Exchange::*)(const CollectiveUnit&);

std::string exchange_units(const CollectiveCall& call, std::int64_t group_rank,
                           std::int64_t group_size, ExchangeUnit exchange_unit) {
  const at::AutoDispatchBelowAutograd below_autograd;
  Exchange exchange(call, group_rank, group_size);
  for (const CollectiveUnit& unit : call.units) {
    (exchange.*exchange_unit)(unit);
  }
  return std::move(exchange.unknown);
}

}  // namespace

std::string mirror(const CollectiveCall& call, std::int64_t group_rank, std::int64_t group_size) {
  return exchange_units(call, group_rank, group_size, &Exchange::mirror);
}

std::string imitate_pytorch(const CollectiveCall& call, std::int64_t group_rank,
                            std::int64_t group_size) {
  return exchange_units(call, group_rank, group_size, &Exchange::imitate_pytorch);
}

}  // namespace polyrank
