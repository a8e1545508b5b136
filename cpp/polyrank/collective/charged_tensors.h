// Which tensors PyTorch counts as a collective's communication.
#pragma once

#include <polyrank/collective/collective_table.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <string_view>

namespace polyrank {

enum class ChargedTensors : std::uint8_t {
  kNone,  // barriers and waits move none
  kInputs,
  kOutputs,  // the tensors that hold the results: output arguments, or what is returned
  kLarger,   // whichever of both is larger
  kBoth,     // inputs and outputs together
};

// What `get_comm_tensor_size` of torch.distributed._tools.fake_collectives adds up for an operator,
// and for those that it leaves out what it adds up for the others of their kind.
// Source: torch 2.13, where the sizes of all_to_all carry the remark "confirm".
POLYRANK_API ChargedTensors charged_tensors(const CollectiveSpec& spec) noexcept;

// "none", "inputs", "outputs", "larger", "both".
POLYRANK_API std::string_view to_string(ChargedTensors charged) noexcept;

}  // namespace polyrank
