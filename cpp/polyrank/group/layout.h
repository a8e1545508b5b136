// Strided layouts of ranks: how one group of a mesh dimension implies all the others.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace polyrank {

// One dimension of a layout: `size` steps of `stride` ranks.
struct LayoutDim {
  std::int64_t size;
  std::int64_t stride;
  bool operator==(const LayoutDim&) const = default;
};

// The offsets { sum of i_d * stride_d : 0 <= i_d < size_d }, dimensions in ascending order of
// stride.
//
// Invariants: (1) sizes are at least 2; (2) each stride is a multiple of the size times the stride
// of the dimension before it, so that all offsets differ.
class POLYRANK_API Layout {
 public:
  // The layout whose offsets are exactly `offsets`, or nothing if they are irregular.
  // Requires: offsets are sorted, distinct, and start with 0
  static std::optional<Layout> from_offsets(std::span<const std::int64_t> offsets);

  std::span<const LayoutDim> dims() const noexcept { return dims_; }

  // Number of offsets.
  std::int64_t size() const noexcept;

  // All offsets, sorted.
  std::vector<std::int64_t> offsets() const;

  // The layout that tiles 0..world_size-1 with copies of this one, or nothing if none does.
  // Ensures: (1) each rank of 0..world_size-1 is a sum of an offset of this layout and one of the
  //          complement, in exactly one way.
  std::optional<Layout> complement(std::int64_t world_size) const;

 private:
  explicit Layout(std::vector<LayoutDim> dims) : dims_(std::move(dims)) {}

  std::vector<LayoutDim> dims_;
};

}  // namespace polyrank
