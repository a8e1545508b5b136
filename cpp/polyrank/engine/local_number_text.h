// Rank-dependent numbers in words.
#pragma once

#include <polyrank/engine/local_number.h>

#include <cstdint>
#include <string>

namespace polyrank {

// As Python's repr(): "7", "0.5", "1.0", "True".
std::string to_text(std::int64_t value);
std::string to_text(double value);
std::string to_text(bool value);

// "rank 3" or "ranks 0-3,6".
std::string ranks_text(const RankSet& ranks);

// For a sentence: "0 on ranks 0-3, 1 on ranks 4-7", abbreviated where there are many values.
std::string describe(const AnyNumber& number);

// For a person: "LocalIntNode({0-3: 0, 4-7: 1})", abbreviated where there are many cohorts; the
// value alone if there is one.
std::string repr(const AnyNumber& number);

}  // namespace polyrank
