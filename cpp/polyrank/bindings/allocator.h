// What Python sees of the caching allocator's figures.
#pragma once

#include <polyrank/allocator/caching_allocator.h>
#include <pybind11/pybind11.h>

#include <vector>

namespace polyrank {

// As `torch._C._cuda_memoryStats()` gives it.
pybind11::dict dict_of(const AllocatorStatistics& statistics);

// Segments and blocks as `torch.cuda.memory._snapshot()["segments"]` has them, without frames.
pybind11::list list_of(const std::vector<SegmentSnapshot>& segments);

}  // namespace polyrank
