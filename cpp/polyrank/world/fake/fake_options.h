// What a fake process group is told when it is made.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <string_view>
#include <torch/csrc/distributed/c10d/Backend.hpp>

namespace polyrank {

// NOTE [Values in the fake world]
// One rank runs and nobody answers it, so what the others would have sent follows from an
// assumption: every rank did what this one did, with the same values. Where even that says nothing
// (what a root scatters that is not this rank; a message, when this rank sent none like it), a
// result is zeros; never what memory happened to hold.
enum class FakeValues : std::uint8_t {
  kMirror,   // as the note says
  kPyTorch,  // what PyTorch's fake group leaves in the tensors
  kRefuse    // as kMirror, but what the assumption says nothing about is an error when it is read
};

// Throws: UsageError if there are no such values, naming those that there are.
POLYRANK_API FakeValues fake_values_from_name(std::string_view name);
POLYRANK_API std::string_view to_string(FakeValues values) noexcept;

struct POLYRANK_API FakeOptions : c10d::Backend::Options {
  FakeOptions() : c10d::Backend::Options("fake") {}

  FakeValues values = FakeValues::kMirror;
  bool checks = true;  // whether what a real group would refuse is an error
  // PyTorch's:
  int fake_option = 0;               // changes nothing
  bool error_on_collective = false;  // whether each collective is an error
};

}  // namespace polyrank
