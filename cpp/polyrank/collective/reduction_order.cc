#include <polyrank/collective/reduction_order.h>
#include <polyrank/core/ceil_div.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <ranges>
#include <utility>

namespace polyrank {

namespace {

struct Named {
  ReductionOrder order;
  std::string_view name;
};

constexpr std::array kNames = {
    Named{ReductionOrder::kRank, "rank"},
    Named{ReductionOrder::kTree, "tree"},
    Named{ReductionOrder::kGloo, "gloo"},
    Named{ReductionOrder::kNcclRing, "nccl_ring"},
    Named{ReductionOrder::kNcclTree, "nccl_tree"},
    Named{ReductionOrder::kHalvingDoubling, "halving_doubling"},
    Named{ReductionOrder::kExact, "exact"},
};

// All members on a ring, from the one after `last` in the direction `step`, up to it.
FoldPart around_to(std::int64_t last, std::int64_t step, std::int64_t num_members) {
  const auto at = [&](std::int64_t hops) {
    return ((last + step * hops) % num_members + num_members) % num_members;
  };
  FoldPart part{.begin = 0, .end = 0, .steps = {}, .result = at(1)};
  for (std::int64_t hops = 2; hops <= num_members; ++hops) {
    part.steps.push_back({.into = part.result, .from = at(hops)});
  }
  return part;
}

// Neighbours of `sums` in pairs, until the first is left.
void add_in_pairs(std::vector<std::int64_t> sums, std::vector<FoldStep>* steps) {
  while (sums.size() > 1) {
    std::vector<std::int64_t> next;
    for (std::size_t i = 0; i < sums.size(); i += 2) {
      if (i + 1 < sums.size()) {
        steps->push_back({.into = sums[i], .from = sums[i + 1]});
      }
      next.push_back(sums[i]);
    }
    sums = std::move(next);
  }
}

FoldPart halved_and_doubled(std::int64_t num_members) {
  const auto power =
      static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(num_members)));
  const std::int64_t num_beyond = num_members - power;
  FoldPart part{.begin = 0, .end = 0, .steps = {}, .result = 0};
  std::vector<std::int64_t> sums;
  for (std::int64_t member = 0; member < num_members; ++member) {
    const bool is_paired = member < 2 * num_beyond;
    if (is_paired && member % 2 == 1) {
      part.steps.push_back({.into = member - 1, .from = member});
    } else {
      sums.push_back(member);
    }
  }
  add_in_pairs(std::move(sums), &part.steps);
  return part;
}

using Children = std::array<std::optional<std::int64_t>, 2>;

// Of a node in a binary tree whose root is 0 and whose leaves are the odd nodes.
Children children_of(std::int64_t node, std::int64_t num_nodes) {
  const auto number = static_cast<std::uint64_t>(node);
  const auto size = static_cast<std::uint64_t>(num_nodes);
  const std::uint64_t reach = node == 0 ? std::bit_ceil(size) : number & (~number + 1);
  Children children;
  if (node != 0 && reach > 1) {
    children[0] = node - static_cast<std::int64_t>(reach / 2);
  }
  for (std::uint64_t step = reach / 2; step > 0 && !children[1]; step /= 2) {
    if (number + step < size) {
      children[1] = node + static_cast<std::int64_t>(step);
    }
  }
  return children;
}

// Of a node in the second tree: the first one's mirror image, or with an odd number of nodes the
// first one, moved by one.
Children children_in_second(std::int64_t node, std::int64_t num_nodes) {
  const bool is_odd = num_nodes % 2 == 1;
  const auto moved = [&](std::int64_t other) {
    return is_odd ? (other + 1) % num_nodes : num_nodes - 1 - other;
  };
  const std::int64_t own = is_odd ? (node - 1 + num_nodes) % num_nodes : num_nodes - 1 - node;
  Children children = children_of(own, num_nodes);
  for (std::optional<std::int64_t>& child : children) {
    child = child ? std::optional(moved(*child)) : std::nullopt;
  }
  return children;
}

// NCCL's tree number `tree` over nodes. Within a node ranks are a chain; its first rank talks to
// the parent and the second child, its second one to the first child.
FoldPart up_the_tree(std::int64_t tree, std::int64_t ranks_per_node, std::int64_t num_members) {
  const std::int64_t num_nodes = num_members / ranks_per_node;
  const auto children = [&](std::int64_t node) {
    return tree == 0 ? children_of(node, num_nodes) : children_in_second(node, num_nodes);
  };
  const std::int64_t second_root = num_nodes % 2 == 1 && num_nodes > 1 ? 1 : num_nodes - 1;
  std::vector<std::int64_t> nodes = {tree == 0 ? 0 : second_root};
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const std::optional<std::int64_t>& child : children(nodes[i])) {
      if (child) {
        nodes.push_back(*child);
      }
    }
  }
  FoldPart part{.begin = 0, .end = 0, .steps = {}, .result = nodes.front() * ranks_per_node};
  for (const std::int64_t node : std::views::reverse(nodes)) {  // children before parents
    const std::int64_t first = node * ranks_per_node;
    for (std::int64_t place = ranks_per_node - 1; place >= 0; --place) {
      if (place + 1 < ranks_per_node) {
        part.steps.push_back({.into = first + place, .from = first + place + 1});
      }
      for (std::size_t i = 0; i < 2; ++i) {
        const std::int64_t talks = i == 0 ? std::min<std::int64_t>(1, ranks_per_node - 1) : 0;
        if (const auto child = children(node)[i]; child && place == talks) {
          part.steps.push_back({.into = first + place, .from = *child * ranks_per_node});
        }
      }
    }
  }
  return part;
}

// The elements of each channel, one after the other, for an operation that is launched by itself.
std::vector<std::int64_t> elements_of_channels(const ReducedElements& elements,
                                               std::int64_t num_channels) {
  constexpr std::int64_t kLeastTraffic = std::int64_t{16} << 10;  // bytes a channel
  constexpr std::int64_t kTrafficPerByte = 2;                     // of all_reduce
  constexpr std::int64_t kCellBytes = kLeastTraffic / kTrafficPerByte;
  const std::int64_t bytes = elements.total * elements.element_size;
  const std::int64_t per_channel =
      std::max(kLeastTraffic, std::max(kLeastTraffic, bytes * kTrafficPerByte) / num_channels);
  const std::int64_t cells = ceil_div(bytes, kCellBytes);
  std::int64_t each = std::min(cells, ceil_div(per_channel, kLeastTraffic));
  const std::int64_t first = num_channels == 1 ? cells : each;
  std::int64_t num_between = each == 0 ? 0 : (cells - first) / each;
  std::int64_t last = each == 0 ? 0 : (cells - first) % each;
  if (num_channels < 1 + num_between + (last != 0 ? 1 : 0)) {
    num_between = num_channels - 2;
    each = (cells - first) / (num_between + 1);
    last = each + (cells - first) % (num_between + 1);
  }
  if (last == 0 && num_between != 0) {
    last = each;
    --num_between;
  }
  const std::int64_t per_cell = kCellBytes / elements.element_size;
  std::vector<std::int64_t> counts = {first * per_cell};
  counts.insert(counts.end(), static_cast<std::size_t>(num_between), each * per_cell);
  if (last != 0) {
    counts.push_back(last * per_cell);
  }
  counts.back() -= cells * per_cell - elements.total;
  return counts;
}

// Collects parts of the whole, and keeps what lies in the elements in question.
class Parts {
 public:
  explicit Parts(const ReducedElements& elements) : elements_(elements) {}

  // The next `length` elements of the whole, or what is left of them.
  void add(std::int64_t length, FoldPart part) {
    const std::int64_t end = std::min(at_ + length, elements_.total);
    part.begin = std::clamp<std::int64_t>(at_ - elements_.begin, 0, elements_.length);
    part.end = std::clamp<std::int64_t>(end - elements_.begin, 0, elements_.length);
    at_ = end;
    if (part.begin < part.end) {
      parts_.push_back(std::move(part));
    }
  }

  std::vector<FoldPart> take() { return std::move(parts_); }

 private:
  const ReducedElements& elements_;
  std::int64_t at_ = 0;
  std::vector<FoldPart> parts_;
};

// The size of what gloo sends at a time.
std::int64_t gloo_part(const ReducedElements& elements, std::int64_t num_members) {
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 20;
  const std::int64_t bytes = elements.total * elements.element_size;
  const std::int64_t segment =
      round_up(std::min(ceil_div(bytes, num_members * 2),
                        kMostBytes / elements.element_size * elements.element_size),
               elements.element_size);
  const std::int64_t num_segments =
      segment == 0 ? 0 : round_up(std::max(ceil_div(bytes, segment), num_members * 2), num_members);
  return num_segments / num_members * (segment / elements.element_size);
}

void add_gloo(const ReducedElements& elements, std::int64_t num_members, Parts* parts) {
  const std::int64_t length = gloo_part(elements, num_members);
  for (std::int64_t q = 0; q < num_members; ++q) {
    parts->add(length, around_to(q, -1, num_members));
  }
}

void add_nccl_ring(const ReductionAlgorithm& algorithm, const ReducedElements& elements,
                   std::int64_t num_members, Parts* parts) {
  if (elements.kind == CollectiveKind::kReduce) {
    parts->add(elements.total, around_to(elements.root, 1, num_members));
    return;
  }
  if (elements.kind == CollectiveKind::kReduceScatter) {
    for (std::int64_t q = 0; q < num_members; ++q) {
      parts->add(elements.total / num_members, around_to(q, 1, num_members));
    }
    return;
  }
  const std::int64_t full =
      std::max<std::int64_t>(algorithm.chunk_bytes / elements.element_size, 1);
  const std::int64_t grain = std::max<std::int64_t>(16 / elements.element_size, 1);
  for (const std::int64_t count : elements_of_channels(elements, algorithm.num_channels)) {
    for (std::int64_t done = 0; done < count; done += num_members * full) {
      const std::int64_t left = std::min(count - done, num_members * full);
      const std::int64_t chunk =
          left < num_members * full ? round_up(ceil_div(left, num_members), grain) : full;
      for (std::int64_t q = 0; q < num_members; ++q) {
        const std::int64_t own = std::clamp<std::int64_t>(left - q * chunk, 0, chunk);
        parts->add(own, around_to(q, 1, num_members));
      }
    }
  }
}

void add_nccl_tree(const ReductionAlgorithm& algorithm, const ReducedElements& elements,
                   std::int64_t num_members, Parts* parts) {
  const std::int64_t per_node =
      algorithm.ranks_per_node == 0 ? num_members : std::min(algorithm.ranks_per_node, num_members);
  if (num_members % per_node != 0) {
    throw UsageError(str_cat("the reduction order nccl_tree has nodes of ", per_node,
                             " ranks, which a group of ", num_members,
                             " does not fill. Say how many of the group's ranks a node has."));
  }
  std::int64_t channel = 0;
  for (const std::int64_t count : elements_of_channels(elements, algorithm.num_channels)) {
    const bool is_first = channel++ < std::max<std::int64_t>(algorithm.num_channels / 2, 1);
    parts->add(count, up_the_tree(is_first ? 0 : 1, per_node, num_members));
  }
}

}  // namespace

std::string_view to_string(ReductionOrder order) noexcept {
  const auto* const found = std::ranges::find(kNames, order, &Named::order);
  return found == kNames.end() ? "unknown" : found->name;
}

ReductionOrder reduction_order_from_name(std::string_view name) {
  const auto* const found = std::ranges::find(kNames, name, &Named::name);
  if (found != kNames.end()) {
    return found->order;
  }
  std::string names;
  for (const Named& named : kNames) {
    names += str_cat(names.empty() ? "" : ", ", '"', named.name, '"');
  }
  throw UsageError(str_cat("there is no reduction order \"", name, "\"; there are ", names, "."));
}

void check_algorithm(const ReductionAlgorithm& algorithm) {
  constexpr std::int64_t kMostChannels = 64;
  if (algorithm.num_channels < 1 || algorithm.num_channels > kMostChannels) {
    throw UsageError(
        str_cat("NCCL has 1 to ", kMostChannels, " channels; got ", algorithm.num_channels, "."));
  }
  if (algorithm.chunk_bytes < 16) {
    throw UsageError(
        str_cat("a ring's chunks have 16 bytes or more; got ", algorithm.chunk_bytes, "."));
  }
  if (algorithm.ranks_per_node < 0) {
    throw UsageError(
        str_cat("a node has 1 rank or more, and 0 says that all ranks are on one; got ",
                algorithm.ranks_per_node, "."));
  }
}

std::vector<FoldPart> fold_parts(const ReductionAlgorithm& algorithm,
                                 const ReducedElements& elements, std::int64_t num_members) {
  if (num_members > kMostOrderedMembers) {
    throw UsageError(str_cat("the reduction order ", to_string(algorithm.order),
                             " takes groups of ", kMostOrderedMembers,
                             " ranks or less; this one has ", num_members,
                             ". The orders rank and tree take all."));
  }
  Parts parts(elements);
  switch (algorithm.order) {
    case ReductionOrder::kGloo:
      add_gloo(elements, num_members, &parts);
      break;
    case ReductionOrder::kNcclTree:
      if (elements.kind == CollectiveKind::kAllReduce) {
        add_nccl_tree(algorithm, elements, num_members, &parts);
        break;
      }
      [[fallthrough]];
    case ReductionOrder::kNcclRing:
      add_nccl_ring(algorithm, elements, num_members, &parts);
      break;
    case ReductionOrder::kHalvingDoubling:
      parts.add(elements.total, halved_and_doubled(num_members));
      break;
    case ReductionOrder::kRank:
    case ReductionOrder::kTree:
    case ReductionOrder::kExact:
      throw InternalError("an order that treats all elements alike was asked for its parts");
  }
  return parts.take();
}

}  // namespace polyrank
