#include <polyrank/bindings/allocator.h>
#include <polyrank/bindings/bindings.h>
#include <polyrank/exchange/host_backend.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/inner_memory.h>
#include <polyrank/virtual_gpu/memory_history.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/reads.h>
#include <polyrank/virtual_gpu/storage.h>
#include <polyrank/virtual_gpu/streams.h>
#include <pybind11/chrono.h>
#include <torch/csrc/utils/pybind.h>

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>

namespace polyrank {

namespace py = pybind11;

namespace {

using StreamData = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // id, index, type

StreamData data_of(c10::Stream stream) {
  const c10::StreamData3 data = stream.pack3();
  return {data.stream_id, data.device_index, static_cast<std::int64_t>(data.device_type)};
}

template <auto change>
void change_statistics(c10::DeviceIndex gpu) {
  check_gpu(gpu);
  rank_gpus()->with_allocator(
      gpu, [](CachingAllocator& allocator) { (allocator.statistics().*change)(); });
}

// What tells `tell`, which may be None, of a read; operators run without the interpreter's lock.
OnLoop loop_teller(const py::object& tell) {
  if (tell.is_none()) {
    return nullptr;
  }
  // Its last reference may go where nobody holds that lock.
  const std::shared_ptr<py::object> kept(new py::object(tell), [](py::object* object) {
    const py::gil_scoped_acquire interpreter;
    delete object;
  });
  return [kept](const DataRead& read) {
    const py::gil_scoped_acquire interpreter;
    (*kept)(read);
  };
}

c10::Device gpu_device(c10::DeviceIndex gpu) { return {c10::kCUDA, gpu}; }

}  // namespace

void init_virtual_gpu(py::module_& module) {
  py::class_<VirtualGpus>(module, "VirtualGpus", "What every virtual GPU of this process is like.")
      .def(py::init([](c10::DeviceIndex count, std::string name, std::int64_t memory_bytes,
                       int major, int minor, int num_multiprocessors, bool has_bytes) {
             return VirtualGpus{.count = count,
                                .name = std::move(name),
                                .memory_bytes = memory_bytes,
                                .major = major,
                                .minor = minor,
                                .num_multiprocessors = num_multiprocessors,
                                .has_bytes = has_bytes};
           }),
           py::arg("count"), py::arg("name"), py::arg("memory_bytes"), py::arg("major"),
           py::arg("minor"), py::arg("num_multiprocessors"), py::arg("has_bytes"))
      .def_readonly("count", &VirtualGpus::count)
      .def_readonly("name", &VirtualGpus::name)
      .def_readonly("memory_bytes", &VirtualGpus::memory_bytes)
      .def_readonly("major", &VirtualGpus::major)
      .def_readonly("minor", &VirtualGpus::minor)
      .def_readonly("num_multiprocessors", &VirtualGpus::num_multiprocessors)
      .def_readonly("has_bytes", &VirtualGpus::has_bytes);
  py::class_<DataRead>(module, "DataRead", "A line that read data which is not there.")
      .def_readonly("line", &DataRead::line)
      .def_readonly("operation", &DataRead::operation)
      .def_readonly("assumed", &DataRead::assumed)
      .def_readonly("count", &DataRead::count);

  py::class_<HostBackend, c10::intrusive_ptr<HostBackend>, c10d::Backend>(
      module, "HostBackend", "Hands tensors whose memory is the host's to a backend of the CPU.")
      .def(
          py::init<c10::intrusive_ptr<c10d::Backend>, c10::intrusive_ptr<c10d::Backend::Options>>(),
          py::arg("inner"), py::arg("options"))
      .def_property_readonly("options", &HostBackend::getBackendOptions)
      .def("_set_default_timeout", &HostBackend::setTimeout, py::arg("timeout"));
  module.def("switch_on_virtual_gpus", &switch_on_virtual_gpus, py::arg("gpus"));
  module.def("switch_off_virtual_gpus", &switch_off_virtual_gpus);
  module.def("virtual_gpus", &virtual_gpus);
  module.def("current_gpu", &current_gpu);
  module.def("set_current_gpu", &set_current_gpu, py::arg("gpu"));
  module.def("check_gpu", &check_gpu, py::arg("gpu"));
  module.def(
      "gpu_memory_stats",
      [](c10::DeviceIndex gpu) {
        check_gpu(gpu);
        return dict_of(rank_gpus()->statistics(gpu));
      },
      py::arg("gpu"));
  module.def(
      "gpu_memory_snapshot",
      [](c10::DeviceIndex gpu) {
        return rank_gpus()->with_allocator(
            gpu, [](const CachingAllocator& allocator) { return list_of(allocator.snapshot()); });
      },
      py::arg("gpu"));
  module.def("reset_peak_gpu_memory", &change_statistics<&AllocatorStatistics::reset_peaks>,
             py::arg("gpu"));
  module.def("reset_accumulated_gpu_memory",
             &change_statistics<&AllocatorStatistics::reset_accumulated>, py::arg("gpu"));
  module.def("empty_gpu_cache", [] {
    rank_gpus()->with_all_allocators([](CachingAllocator& one) { one.empty_cache(); });
  });
  module.def(
      "set_gpu_capacity",
      [](std::int64_t bytes, c10::DeviceIndex gpu) {
        rank_gpus()->with_allocator(
            gpu, [&](CachingAllocator& allocator) { allocator.device().set_capacity(bytes); });
      },
      py::arg("bytes"), py::arg("gpu"));
  module.def(
      "set_gpu_memory_fraction",
      [](double fraction, c10::DeviceIndex gpu) {
        rank_gpus()->with_allocator(
            gpu, [&](CachingAllocator& allocator) { allocator.set_memory_fraction(fraction); });
      },
      py::arg("fraction"), py::arg("gpu"));
  py::class_<MemoryPiece>(module, "MemoryPiece", "The memory of one storage, and whose it is.")
      .def_readonly("bytes", &MemoryPiece::bytes)
      .def_readonly("gpu", &MemoryPiece::gpu)
      .def_readonly("address", &MemoryPiece::address)
      .def_readonly("step", &MemoryPiece::step)
      .def_readonly("operation", &MemoryPiece::operation)
      .def_readonly("module", &MemoryPiece::module)
      .def_readonly("is_backward", &MemoryPiece::is_backward)
      .def_readonly("stream", &MemoryPiece::stream)
      .def_readonly("line", &MemoryPiece::line)
      .def_readonly("owner", &MemoryPiece::owner)
      .def_readonly("detail", &MemoryPiece::detail);
  py::class_<MemoryEvent>(module, "MemoryEvent", "What a GPU held after a piece came or went.")
      .def_readonly("piece", &MemoryEvent::piece)
      .def_readonly("allocated", &MemoryEvent::allocated)
      .def_readonly("reserved", &MemoryEvent::reserved)
      .def_readonly("step", &MemoryEvent::step)
      .def_readonly("is_backward", &MemoryEvent::is_backward);
  py::class_<MemoryHistory, std::shared_ptr<MemoryHistory>>(module, "MemoryHistory",
                                                            "What was allocated, and when.")
      .def(py::init<>())
      .def("events", &MemoryHistory::events)
      .def("pieces", &MemoryHistory::pieces)
      .def("alive_after", &MemoryHistory::alive_after, py::arg("event"))
      .def("next_step", &MemoryHistory::next_step);
  module.def("keep_memory_history", &keep_memory_history, py::arg("history"));
  module.def("set_memory_owner", &set_memory_owner, py::arg("tensor"), py::arg("owner"),
             py::arg("detail"));
  module.def("inner_memory_table", [] {
    py::list rows;
    for (const InnerMemory& row : inner_memory_table()) {
      rows.append(py::make_tuple(row.operation, row.what, to_string(row.certainty), row.source));
    }
    return rows;
  });
  module.def("blas_workspace_bytes", &blas_workspace_bytes);
  module.def("set_blas_workspace_bytes", &set_blas_workspace_bytes, py::arg("bytes"));
  module.def("clear_blas_workspaces", [] { rank_gpus()->clear_blas_workspaces(); });
  module.def("synchronize_gpu", &synchronize_gpu, py::arg("gpu"));
  module.def("data_reads", &data_reads);
  module.def(
      "clear_reads",
      [](bool refuses, const py::object& on_loop) {
        clear_reads(refuses ? OnRead::kRefuse : OnRead::kAssume, loop_teller(on_loop));
      },
      py::arg("refuses"), py::arg("on_loop") = py::none());
  module.def("default_gpu_generator", &default_gpu_generator, py::arg("gpu"));
  module.def(
      "current_gpu_stream",
      [](c10::DeviceIndex gpu) { return data_of(current_gpu_stream(gpu_device(gpu))); },
      py::arg("gpu"));
  module.def(
      "set_gpu_stream",
      [](c10::StreamId id, c10::DeviceIndex gpu) {
        exchange_gpu_stream(c10::Stream(c10::Stream::UNSAFE, gpu_device(gpu), id));
      },
      py::arg("stream_id"), py::arg("gpu"));
  module.def(
      "new_gpu_stream",
      [](c10::DeviceIndex gpu, int priority) {
        return data_of(new_gpu_stream(gpu_device(gpu), priority));
      },
      py::arg("gpu"), py::arg("priority"));
  module.def(
      "gpu_stream_of_handle",
      [](std::uintptr_t handle, c10::DeviceIndex gpu) {
        return data_of(gpu_stream_of_handle(gpu_device(gpu), handle));
      },
      py::arg("handle"), py::arg("gpu"));
  module.def("elapsed_gpu_time", &elapsed_gpu_time, py::arg("start_event"), py::arg("end_event"));
  module.def(
      "resize_gpu_storage",
      [](const c10::Storage& storage, std::size_t bytes) {
        resize_gpu_storage(storage.unsafeGetStorageImpl(), bytes);
      },
      py::arg("storage"), py::arg("bytes"));
  module.def(
      "new_gpu_storage",
      [](std::int64_t bytes) {
        return c10::Storage(c10::Storage::use_byte_size_t(), bytes, gpu_allocator(), true);
      },
      py::arg("bytes"));
}

}  // namespace polyrank
