// Strings that are kept once and for good.
#pragma once

#include <polyrank/core/export.h>

#include <string_view>

namespace polyrank {

// An equal string that lives as long as the process. For names of which a program has few: files,
// modules, operators.
// Ensures: (1) interned(s) == s; (2) equal strings give the same memory.
// Thread rule: safe from any thread.
POLYRANK_API std::string_view interned(std::string_view text);

}  // namespace polyrank
