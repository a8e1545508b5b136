// Where a rank stands in a family of process groups.
#pragma once

#include <cstdint>

namespace polyrank {

struct GroupPlace {
  std::int64_t group = -1;     // index of the group; -1: the rank is in none
  std::int32_t position = -1;  // its group rank there; -1: the rank is in none
  bool operator==(const GroupPlace&) const = default;
};

}  // namespace polyrank
