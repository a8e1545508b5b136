// Whether the launches that meet belong together.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/launch.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace polyrank {

// A launch and the global rank that made it.
struct RankLaunch {
  std::int64_t rank;
  const Launch* launch;
};

// Whether two members may launch these in the same meeting: same kind, and for the kind the same
// reduce op, root, dtype and shapes. What two members of an all_to_all or the lists of a gather
// must fit, disagreement() checks.
// Ensures: (1) agrees(a, a); (2) agrees(a, b) == agrees(b, a).
POLYRANK_API bool agrees(const Launch& a, const Launch& b);

// What is wrong with launches that met, as lines that name both sides: which ranks launched what,
// and where. Nothing if they belong together.
// Requires: `launches` are in the order of the group, without those who have not come; `group_size`
//           says how many there are in all
// Ensures: (1) the same launches give the same text, whoever came first.
POLYRANK_API std::optional<std::string> disagreement(std::span<const RankLaunch> launches,
                                                     std::int64_t group_size);

// "  ranks 0-2: all_reduce(sum) float32[4]  train.py:88" for each set of ranks that launched the
// same at the same place, ordered by their lowest rank.
POLYRANK_API std::string sides(std::span<const RankLaunch> launches);

}  // namespace polyrank
