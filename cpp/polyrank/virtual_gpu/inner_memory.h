// What operators of CUDA allocate for themselves, beside their results.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/virtual_gpu/inner_sizes.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace polyrank {

// NOTE [Memory inside operators]
// A shape function makes an operator's results. What CUDA's kernel takes for itself meanwhile
// (accumulators, copies, sorted indices) is told by a table, each row with its source and how sure
// it is. It is allocated after the results, on the current stream, and freed with the operator.
// Where the source frees a piece before it makes another one, those count that live together at the
// worst. What a row leaves out is in its text.

enum class Certainty : std::uint8_t {
  kMeasured,
  kRead,     // in the source
  kSupposed  // the source is not there to read
};

struct InnerMemory {
  std::string_view operation;  // "aten::mm"
  std::string_view what;
  Certainty certainty;
  std::string_view source;
  bool takes_blas_workspace;                       // NOTE [cuBLAS's workspaces]
  PieceSizes (*pieces)(const OperatorArguments&);  // null: none
};

// All rows.
POLYRANK_API std::span<const InnerMemory> inner_memory_table();

// The operator's row; null: it takes nothing that is known of.
const InnerMemory* inner_memory_of(std::string_view operation);

POLYRANK_API std::string_view to_string(Certainty certainty);

}  // namespace polyrank
