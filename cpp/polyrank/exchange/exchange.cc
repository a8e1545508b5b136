#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/exchange/reduction.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace polyrank {

namespace {

using Tensors = std::vector<at::Tensor>;
using SplitSizes = std::vector<std::int64_t>;

[[noreturn]] void throw_misfit(const MemberInputs& inputs, const std::string& what) {
  throw CollectiveError(str_cat(
      "group \"", inputs.group_label, "\" (ranks ",
      RankSet::of({inputs.members.begin(), inputs.members.end()}).to_string(), "): ", what));
}

// All members must put in the same number of elements.
void check_equal_sizes(const CollectiveCall& call, const MemberInputs& inputs,
                       const MemberTensors& tensors) {
  for (const MemberTensors::Run& run : tensors.runs()) {
    if (run.tensor.numel() != tensors.front().numel()) {
      throw_misfit(
          inputs,
          str_cat(to_string(call.spec->kind), " needs tensors of one size on all ranks, but ",
                  describe_members(inputs.members, tensors), ". Pad them to one size first."));
    }
  }
}

Tensors flattened(const Tensors& tensors) {
  Tensors flat;
  flat.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    flat.push_back(tensor.reshape({-1}));
  }
  return flat;
}

// One after the other along dim 0; 0-dim tensors are stacked, and those that differ in shape lose
// it.
at::Tensor concatenated(const MemberTensors& members) {
  const Tensors tensors = members.by_member();
  const at::Tensor& first = tensors.front();
  if (first.dim() == 0) {
    return at::stack(tensors);
  }
  const bool same_shape = std::ranges::all_of(
      tensors, [&](const at::Tensor& tensor) { return tensor.sizes() == first.sizes(); });
  return at::cat(same_shape ? tensors : flattened(tensors));
}

// The tensor with a first dimension that counts as many equal pieces as there are members: pieces
// of dim 0, or of the flattened tensor where that doesn't divide.
at::Tensor cut_evenly(const CollectiveCall& call, const MemberInputs& inputs,
                      const at::Tensor& tensor) {
  const auto num_pieces = static_cast<std::int64_t>(inputs.group_size());
  const bool cuts_rows = tensor.dim() > 0 && tensor.size(0) % num_pieces == 0;
  const bool is_functional = call.spec->destination == Destination::kResults;
  if (!cuts_rows && (is_functional || tensor.numel() % num_pieces != 0)) {
    throw_misfit(inputs, str_cat(to_string(call.spec->kind), " cuts each rank's ",
                                 describe_tensor(tensor), " into ", num_pieces,
                                 " equal pieces, one per rank of the group, which leaves a rest. "
                                 "Pad the tensor to a multiple of the group size."));
  }
  const at::Tensor rows = cuts_rows ? tensor : tensor.reshape({-1});
  return rows.unflatten(0, {num_pieces, rows.size(0) / num_pieces});
}

// Which elements of what a member puts in its input number `input` has.
ReducedElements reduced_elements(const CollectiveCall& call, const MemberInputs& inputs,
                                 std::size_t input) {
  const at::Tensor& first = inputs.tensors[input].front();
  const std::int64_t length = first.numel();
  ReducedElements elements{.kind = call.spec->kind,
                           .root = call.root,
                           .element_size = first.element_size(),
                           .total = length * static_cast<std::int64_t>(inputs.tensors.size()),
                           .begin = length * static_cast<std::int64_t>(input),
                           .length = length};
  if (reduction_order().order == ReductionOrder::kGloo) {
    // gloo reduces each tensor of a list by itself, and joins those of a coalesced all_reduce.
    const bool joins = call.spec->kind == CollectiveKind::kAllReduce;
    elements.begin = joins ? inputs.elements_before : 0;
    elements.total = joins ? inputs.elements_before + length + inputs.elements_after : length;
  }
  return elements;
}

MemberOutputs all_reduce(const CollectiveCall& call, const MemberInputs& inputs) {
  const MemberTensors& members = inputs.tensors.front();
  check_equal_sizes(call, inputs, members);
  return {.tensors = {{fold_members(call.reduce_op, members, reduced_elements(call, inputs, 0))}},
          .same_on_members = true};
}

MemberOutputs all_gather(const CollectiveCall& call, const MemberInputs& inputs) {
  const MemberTensors& members = inputs.tensors.front();
  const Packing outputs = call.spec->outputs.packing;
  if (outputs == Packing::kOnePerMember || outputs == Packing::kMemberByTensor) {
    MemberOutputs result{.tensors = {}, .same_on_members = true, .are_new = false};
    for (const at::Tensor& tensor : members.by_member()) {
      result.tensors.push_back({tensor});
    }
    return result;
  }
  check_equal_sizes(call, inputs, members);
  return {.tensors = {{concatenated(members)}}, .same_on_members = true};
}

MemberOutputs reduce_scatter(const CollectiveCall& call, const MemberInputs& inputs) {
  MemberOutputs result{.tensors = {{}}};
  if (inputs.tensors.size() > 1) {  // a list: the i-th tensor is for the i-th member
    for (std::size_t i = 0; i < inputs.tensors.size(); ++i) {
      const MemberTensors& members = inputs.tensors[i];
      check_equal_sizes(call, inputs, members);
      result.tensors.front().push_back(
          fold_members(call.reduce_op, members, reduced_elements(call, inputs, i)));
    }
    return result;
  }
  const MemberTensors& members = inputs.tensors.front();
  check_equal_sizes(call, inputs, members);
  const at::Tensor folded =
      fold_members(call.reduce_op, members, reduced_elements(call, inputs, 0));
  const at::Tensor pieces = cut_evenly(call, inputs, folded);
  if (!holds_values(pieces)) {  // all pieces have one shape, and differ by nothing else
    result.tensors.front().assign(inputs.group_size(),
                                  pieces.select(0, 0).clone(at::MemoryFormat::Contiguous));
    return result;
  }
  for (const at::Tensor& piece : pieces.unbind(0)) {
    result.tensors.front().push_back(piece.clone(at::MemoryFormat::Contiguous));
  }
  return result;
}

MemberOutputs broadcast(const CollectiveCall& call, const MemberInputs& inputs) {
  const MemberTensors& members = inputs.tensors.front();
  check_equal_sizes(call, inputs, members);
  return {.tensors = {{members[static_cast<std::size_t>(call.root)]}},
          .same_on_members = true,
          .are_new = false};
}

Tensors uneven_pieces(const CollectiveCall& call, const MemberInputs& inputs, std::size_t member) {
  const at::Tensor& tensor = inputs.tensors.front()[member];
  if (inputs.input_split_sizes.empty()) {
    return cut_evenly(call, inputs, tensor).unbind(0);
  }
  const SplitSizes& sizes = inputs.input_split_sizes[member];
  const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  const std::int64_t length = tensor.dim() == 0 ? 1 : tensor.size(0);
  if (sizes.size() != inputs.group_size() || total != length) {
    throw_misfit(
        inputs, str_cat("rank ", inputs.members[member], " splits ", describe_tensor(tensor),
                        " into ", sizes.size(), " pieces of together ", total, " rows; it must be ",
                        inputs.group_size(), " pieces, of together ", length, "."));
  }
  return tensor.split_with_sizes(sizes, 0);
}

void check_expected(const MemberInputs& inputs, std::size_t from, std::size_t to,
                    const at::Tensor& piece) {
  if (inputs.output_split_sizes.empty()) {
    return;
  }
  const SplitSizes& expected = inputs.output_split_sizes[to];
  if (expected.size() == inputs.group_size() && expected[from] == piece.size(0)) {
    return;
  }
  throw_misfit(inputs,
               str_cat("all_to_all: rank ", inputs.members[from], " sends ", piece.size(0),
                       " rows to rank ", inputs.members[to], ", which expects ",
                       expected.size() == inputs.group_size()
                           ? str_cat(expected[from])
                           : str_cat("pieces from ", expected.size(), " ranks"),
                       ". The output_split_sizes of the receiver must be the input_split_sizes of "
                       "the senders."));
}

MemberOutputs uneven_all_to_all(const CollectiveCall& call, const MemberInputs& inputs) {
  std::vector<Tensors> pieces;
  pieces.reserve(inputs.group_size());
  for (std::size_t member = 0; member < inputs.group_size(); ++member) {
    pieces.push_back(uneven_pieces(call, inputs, member));
  }
  MemberOutputs result{.tensors = {{}}};
  for (std::size_t to = 0; to < inputs.group_size(); ++to) {
    Tensors received;
    for (std::size_t from = 0; from < inputs.group_size(); ++from) {
      check_expected(inputs, from, to, pieces[from][to]);
      received.push_back(pieces[from][to]);
    }
    result.tensors.front().push_back(at::cat(received));
  }
  return result;
}

MemberOutputs all_to_all(const CollectiveCall& call, const MemberInputs& inputs) {
  if (!inputs.input_split_sizes.empty() || !inputs.output_split_sizes.empty()) {
    return uneven_all_to_all(call, inputs);
  }
  check_equal_sizes(call, inputs, inputs.tensors.front());
  const auto num_pieces = static_cast<std::int64_t>(inputs.group_size());
  Tensors sent;
  for (const at::Tensor& tensor : inputs.tensors.front().by_member()) {
    sent.push_back(cut_evenly(call, inputs, tensor));
  }
  const at::Tensor all = at::stack(sent);  // [from, to, rows of a piece, …]
  MemberOutputs result{.tensors = {{}}};
  for (std::int64_t to = 0; to < num_pieces; ++to) {
    result.tensors.front().push_back(
        all.select(1, to).clone(at::MemoryFormat::Contiguous).flatten(0, 1));
  }
  return result;
}

// Lists: the i-th tensor of a member is for the i-th member.
MemberOutputs all_to_all_list(const MemberInputs& inputs) {
  MemberOutputs result{.tensors = {}, .are_new = false};
  for (std::size_t from = 0; from < inputs.group_size(); ++from) {
    Tensors& received = result.tensors.emplace_back();
    for (std::size_t to = 0; to < inputs.group_size(); ++to) {
      received.push_back(inputs.tensors[to][from]);
    }
  }
  return result;
}

// The i-th tensor of the root is for the i-th member.
MemberOutputs scatter(const CollectiveCall& call, const MemberInputs& inputs) {
  MemberOutputs result{.tensors = {{}}, .are_new = false};
  for (const MemberTensors& of_member : inputs.tensors) {
    result.tensors.front().push_back(of_member[static_cast<std::size_t>(call.root)]);
  }
  return result;
}

// DTensor's: gathers along one dimension and shards along another.
MemberOutputs shard_dim_all_to_all(const CollectiveCall& call, const MemberInputs& inputs) {
  const at::Tensor gathered = at::cat(inputs.tensors.front().by_member(), call.gather_dim);
  const auto num_pieces = static_cast<std::int64_t>(inputs.group_size());
  const std::int64_t length = gathered.size(call.shard_dim);
  if (length % num_pieces != 0) {
    throw_misfit(inputs, str_cat("shard_dim_alltoall cuts dim ", call.shard_dim, " of ",
                                 describe_tensor(gathered), " into ", num_pieces,
                                 " equal pieces, which leaves a rest. Pad that dim first."));
  }
  MemberOutputs result{.tensors = {{}}};
  for (std::int64_t piece = 0; piece < num_pieces; ++piece) {
    const std::int64_t piece_length = length / num_pieces;
    result.tensors.front().push_back(
        gathered.narrow(call.shard_dim, piece * piece_length, piece_length)
            .clone(at::MemoryFormat::Contiguous));
  }
  return result;
}

}  // namespace

void MemberInputs::count_others(const CollectiveCall& call, const CollectiveUnit& own,
                                const std::function<std::int64_t(const at::Tensor&)>& numel_of) {
  std::int64_t* count = &elements_before;
  for (const CollectiveUnit& unit : call.units) {
    if (&unit == &own) {
      count = &elements_after;
    } else {
      *count += unit.inputs.empty() ? 0 : numel_of(unit.inputs.front());
    }
  }
}

MemberOutputs exchange(const CollectiveCall& call, const MemberInputs& inputs) {
  switch (call.spec->kind) {
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kReduce:
      return all_reduce(call, inputs);
    case CollectiveKind::kAllGather:
    case CollectiveKind::kGather:
      return all_gather(call, inputs);
    case CollectiveKind::kReduceScatter:
      return reduce_scatter(call, inputs);
    case CollectiveKind::kBroadcast:
      return broadcast(call, inputs);
    case CollectiveKind::kScatter:
      return scatter(call, inputs);
    case CollectiveKind::kAllToAll:
      if (call.spec->inputs.packing == Packing::kPerMember) {
        return all_to_all_list(inputs);
      }
      return call.spec->shard_dim == kAbsent ? all_to_all(call, inputs)
                                             : shard_dim_all_to_all(call, inputs);
    default:
      throw InternalError(str_cat("exchange() was asked for ", to_string(call.spec->kind)));
  }
}

std::string describe_tensor(const at::Tensor& tensor) {
  std::string text = str_cat(c10::getDtypeNames(tensor.scalar_type()).first, "[");
  for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) {
    text += str_cat(dim == 0 ? "" : ", ", tensor.sym_size(dim));
  }
  return text + "]";
}

std::string describe_members(std::span<const std::int64_t> members, const MemberTensors& tensors) {
  std::map<std::string, std::vector<std::int64_t>> ranks_by_shape;
  std::vector<std::string> shapes;  // in the order of the members
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::string shape = describe_tensor(tensors[i]);
    auto& ranks = ranks_by_shape[shape];
    if (ranks.empty()) {
      shapes.push_back(shape);
    }
    ranks.push_back(members[i]);
  }
  std::string text;
  constexpr std::size_t kShown = 4;
  for (std::size_t i = 0; i < std::min(shapes.size(), kShown); ++i) {
    const std::string& shape = shapes[i];
    const std::vector<std::int64_t>& ranks = ranks_by_shape[shape];
    text +=
        str_cat(text.empty() ? "" : ", ", ranks.size() == 1 ? "rank " : "ranks ",
                RankSet::of(ranks).to_string(), ranks.size() == 1 ? " holds " : " hold ", shape);
  }
  if (shapes.size() > kShown) {
    text += str_cat(", … (", shapes.size(), " shapes)");
  }
  return text;
}

}  // namespace polyrank
