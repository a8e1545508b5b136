#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/agreement.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

// What the members of a group must have in common, by kind.
enum class Common : std::uint8_t {
  kNothing,
  kDtype,    // of the inputs; the shapes are checked pair by pair
  kInputs,   // shapes of the inputs
  kOutputs,  // shapes of the outputs: what a root hands out
  kGathered  // shapes of the outputs if they are a list (of any shapes), else of the inputs
};

Common common_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kReduceScatter:
    case CollectiveKind::kBroadcast:
    case CollectiveKind::kReduce:
    case CollectiveKind::kGather:
      return Common::kInputs;
    case CollectiveKind::kAllGather:
      return Common::kGathered;
    case CollectiveKind::kScatter:
      return Common::kOutputs;
    case CollectiveKind::kAllToAll:
      return Common::kDtype;
    default:
      return Common::kNothing;
  }
}

std::string_view dtype_of(const Launch& launch) {
  return launch.inputs.empty() ? std::string_view() : launch.inputs.front().dtype;
}

bool shapes_agree(const Launch& a, const Launch& b) {
  switch (common_of(a.kind)) {
    case Common::kNothing:
      return true;
    case Common::kDtype:
      return dtype_of(a) == dtype_of(b);
    case Common::kInputs:
      return a.inputs == b.inputs;
    case Common::kOutputs:
      return a.outputs == b.outputs;
    case Common::kGathered:
      return a.outputs.size() == b.outputs.size() &&
             (a.outputs.size() > 1 ? a.outputs == b.outputs : a.inputs == b.inputs);
  }
  return true;
}

// Elements that a member of an all_to_all sends to, or expects from, each member: rows, or elements
// of the tensors of a list. Empty where that can't be said.
std::vector<std::int64_t> pieces(const BoardList<TensorShape>& tensors,
                                 const BoardList<std::int64_t>& split_sizes,
                                 std::size_t group_size) {
  std::vector<std::int64_t> result;
  if (tensors.size() == group_size && group_size > 1) {
    for (const TensorShape& tensor : tensors) {
      result.push_back(tensor.numel());
    }
    return result;
  }
  if (tensors.size() != 1) {
    return {};
  }
  const std::int64_t num_rows = tensors.front().sizes.empty() ? 1 : tensors.front().sizes.front();
  const std::int64_t row = num_rows == 0 ? 0 : tensors.front().numel() / num_rows;
  if (split_sizes.empty()) {
    return std::vector<std::int64_t>(
        group_size, tensors.front().numel() / static_cast<std::int64_t>(group_size));
  }
  for (const std::int64_t rows : split_sizes) {
    result.push_back(rows * row);
  }
  return result;
}

// Each piece that a member of an all_to_all sends must be as large as its receiver expects.
std::optional<std::string> unfit_pieces(std::span<const RankLaunch> launches) {
  const std::size_t size = launches.size();
  std::vector<std::vector<std::int64_t>> sent;
  std::vector<std::vector<std::int64_t>> expected;
  for (const auto& [rank, launch] : launches) {
    sent.push_back(pieces(launch->inputs, launch->input_split_sizes, size));
    expected.push_back(pieces(launch->outputs, launch->output_split_sizes, size));
  }
  for (std::size_t from = 0; from < size; ++from) {
    for (std::size_t to = 0; to < size; ++to) {
      if (sent[from].size() == size && expected[to].size() == size &&
          sent[from][to] != expected[to][from]) {
        return str_cat("rank ", launches[from].rank, " sends ", sent[from][to],
                       " elements to rank ", launches[to].rank, ", which expects ",
                       expected[to][from], ".\n", sides(launches),
                       "The output_split_sizes of each receiver must be the input_split_sizes of "
                       "its senders.");
      }
    }
  }
  return std::nullopt;
}

}  // namespace

bool agrees(const Launch& a, const Launch& b) {
  return a.kind == b.kind && a.reduce_op == b.reduce_op &&
         (!has_root(a.kind) || a.root == b.root) && shapes_agree(a, b);
}

std::string sides(std::span<const RankLaunch> launches) {
  std::map<std::pair<std::string, std::string>, std::vector<std::int64_t>> ranks_by_text;
  for (const auto& [rank, launch] : launches) {
    ranks_by_text[{to_string(*launch), launch->where.str()}].push_back(rank);
  }
  std::vector<std::pair<RankSet, std::pair<std::string, std::string>>> lines;
  lines.reserve(ranks_by_text.size());
  for (const auto& [text, ranks] : ranks_by_text) {
    lines.emplace_back(RankSet::of(ranks), text);
  }
  std::sort(lines.begin(), lines.end(),
            [](const auto& a, const auto& b) { return a.first.min() < b.first.min(); });
  std::ostringstream out;
  for (const auto& [ranks, text] : lines) {
    out << (ranks.size() == 1 ? "  rank " : "  ranks ") << ranks.to_string() << ": " << text.first;
    if (!text.second.empty()) {
      out << "  " << text.second;
    }
    out << "\n";
  }
  return out.str();
}

std::optional<std::string> disagreement(std::span<const RankLaunch> launches,
                                        std::int64_t group_size) {
  const auto odd = std::find_if(launches.begin(), launches.end(), [&](const RankLaunch& other) {
    return !agrees(*launches.front().launch, *other.launch);
  });
  if (odd != launches.end()) {
    return str_cat("ranks disagree.\n", sides(launches),
                   "Every rank of a group must launch the same collectives in the same order, with "
                   "the same dtype, shape, root and reduce op.");
  }
  const bool all_came = static_cast<std::int64_t>(launches.size()) == group_size;
  if (all_came && !launches.empty() && launches.front().launch->kind == CollectiveKind::kAllToAll) {
    return unfit_pieces(launches);
  }
  return std::nullopt;
}

}  // namespace polyrank
