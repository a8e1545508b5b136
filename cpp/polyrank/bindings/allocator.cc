#include <polyrank/allocator/caching_allocator.h>
#include <polyrank/bindings/allocator.h>
#include <polyrank/bindings/bindings.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <pybind11/stl.h>

#include <string>
#include <unordered_map>

namespace polyrank {

namespace py = pybind11;
using py::literals::operator""_a;

namespace {

py::dict dict_of(const MemoryFigure& figure) {
  return py::dict("current"_a = figure.current, "peak"_a = figure.peak,
                  "allocated"_a = figure.allocated, "freed"_a = figure.freed);
}

// The model by itself, whose blocks go by their addresses.
class PythonAllocator {
 public:
  PythonAllocator(std::int64_t capacity, const AllocatorOptions& options)
      : allocator_(capacity, options) {}

  Address allocate(std::int64_t bytes, StreamNumber stream) {
    Block* block = allocator_.allocate(bytes, stream);
    blocks_.emplace(block->address, block);
    return block->address;
  }
  void free(Address address) {
    allocator_.free(block_at(address));
    blocks_.erase(address);
  }
  void record_stream(Address address, StreamNumber stream) {
    allocator_.record_stream(block_at(address), stream);
  }
  CachingAllocator& allocator() { return allocator_; }

 private:
  Block* block_at(Address address) const {
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) {
      throw UsageError(str_cat("no block that is in use begins at ", address));
    }
    return found->second;
  }

  CachingAllocator allocator_;
  std::unordered_map<Address, Block*> blocks_;
};

const char* state_of(const BlockSnapshot& block) {
  if (block.is_allocated) {
    return "active_allocated";
  }
  return block.is_active ? "active_pending_free" : "inactive";
}

}  // namespace

py::dict dict_of(const AllocatorStatistics& statistics) {
  py::dict dict;
  for (const auto& [name, member] : pool_figures()) {
    const PoolFigure& figure = statistics.*member;
    dict[py::str(std::string(name))] =
        py::dict("all"_a = dict_of(figure.all), "small_pool"_a = dict_of(figure.small_pool),
                 "large_pool"_a = dict_of(figure.large_pool));
  }
  for (const auto& [name, member] : oversize_figures()) {
    dict[py::str(std::string(name))] = dict_of(statistics.*member);
  }
  for (const auto& [name, member] : counts()) {
    dict[py::str(std::string(name))] = statistics.*member;
  }
  return dict;
}

py::list list_of(const std::vector<SegmentSnapshot>& segments) {
  py::list list;
  for (const SegmentSnapshot& segment : segments) {
    py::list blocks;
    for (const BlockSnapshot& block : segment.blocks) {
      blocks.append(py::dict("address"_a = block.address, "size"_a = block.size,
                             "requested_size"_a = block.requested_size, "state"_a = state_of(block),
                             "frames"_a = py::list()));
    }
    list.append(py::dict(
        "device"_a = 0, "address"_a = segment.address, "total_size"_a = segment.total_size,
        "allocated_size"_a = segment.allocated_size, "active_size"_a = segment.active_size,
        "requested_size"_a = segment.requested_size, "stream"_a = segment.stream,
        "segment_type"_a = segment.is_large ? "large" : "small",
        "segment_pool_id"_a = py::make_tuple(0, 0), "is_expandable"_a = segment.is_expandable,
        "frames"_a = py::list(), "blocks"_a = blocks));
  }
  return list;
}

void init_allocator(py::module_& module) {
  py::class_<AllocatorOptions>(module, "AllocatorOptions", "What PYTORCH_ALLOC_CONF says.")
      .def(py::init<>())
      .def_readwrite("max_split_size", &AllocatorOptions::max_split_size)
      .def_readwrite("max_non_split_rounding", &AllocatorOptions::max_non_split_rounding)
      .def_readwrite("large_segment_size", &AllocatorOptions::large_segment_size)
      .def_readwrite("roundup_power2_divisions", &AllocatorOptions::roundup_power2_divisions)
      .def_readwrite("garbage_collection_threshold",
                     &AllocatorOptions::garbage_collection_threshold)
      .def_readwrite("expandable_segments", &AllocatorOptions::expandable_segments);
  py::class_<PythonAllocator>(module, "CachingAllocator", "The model of CUDA's caching allocator.")
      .def(py::init<std::int64_t, const AllocatorOptions&>(), py::arg("capacity"),
           py::arg("options"))
      .def("allocate", &PythonAllocator::allocate, py::arg("num_bytes"), py::arg("stream"))
      .def("free", &PythonAllocator::free, py::arg("address"))
      .def("record_stream", &PythonAllocator::record_stream, py::arg("address"), py::arg("stream"))
      .def("wait_for_all",
           [](PythonAllocator& self) { self.allocator().streams().host_wait_for_all(); })
      .def("empty_cache", [](PythonAllocator& self) { self.allocator().empty_cache(); })
      .def(
          "set_memory_fraction",
          [](PythonAllocator& self, double fraction) {
            self.allocator().set_memory_fraction(fraction);
          },
          py::arg("fraction"))
      .def("stats", [](PythonAllocator& self) { return dict_of(self.allocator().statistics()); })
      .def("snapshot", [](PythonAllocator& self) { return list_of(self.allocator().snapshot()); });
}

}  // namespace polyrank
