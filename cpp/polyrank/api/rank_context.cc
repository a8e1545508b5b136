#include <polyrank/api/rank_context.h>

#include <numeric>
#include <utility>

namespace polyrank {

namespace {

std::vector<std::int64_t> all_ranks(std::int64_t world_size) {
  std::vector<std::int64_t> ranks(static_cast<std::size_t>(world_size));
  std::iota(ranks.begin(), ranks.end(), std::int64_t{0});
  return ranks;
}

}  // namespace

RankContext::RankContext(std::int64_t rank, std::int64_t world_size, MakeGroup make_group)
    : rank_(rank),
      make_group_(std::move(make_group)),
      world_(make_group_("world", all_ranks(world_size))) {}

}  // namespace polyrank
