#include <polyrank/bindings/bindings.h>
#include <polyrank/exchange/host_backend.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/storage.h>
#include <polyrank/virtual_gpu/streams.h>
#include <pybind11/chrono.h>
#include <torch/csrc/utils/pybind.h>

#include <cstdint>
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
void change_memory(c10::DeviceIndex gpu) {
  rank_gpus()->change_memory(gpu, [](GpuMemory& memory) { (memory.*change)(); });
}

c10::Device gpu_device(c10::DeviceIndex gpu) { return {c10::kCUDA, gpu}; }

}  // namespace

void init_virtual_gpu(py::module_& module) {
  py::class_<VirtualGpus>(module, "VirtualGpus", "What every virtual GPU of this process is like.")
      .def(py::init([](c10::DeviceIndex count, std::string name, std::int64_t memory_bytes,
                       int major, int minor, int num_multiprocessors) {
             return VirtualGpus{.count = count,
                                .name = std::move(name),
                                .memory_bytes = memory_bytes,
                                .major = major,
                                .minor = minor,
                                .num_multiprocessors = num_multiprocessors};
           }),
           py::arg("count"), py::arg("name"), py::arg("memory_bytes"), py::arg("major"),
           py::arg("minor"), py::arg("num_multiprocessors"))
      .def_readonly("count", &VirtualGpus::count)
      .def_readonly("name", &VirtualGpus::name)
      .def_readonly("memory_bytes", &VirtualGpus::memory_bytes)
      .def_readonly("major", &VirtualGpus::major)
      .def_readonly("minor", &VirtualGpus::minor)
      .def_readonly("num_multiprocessors", &VirtualGpus::num_multiprocessors);
  py::class_<MemoryFigure>(module, "MemoryFigure")
      .def_readonly("current", &MemoryFigure::current)
      .def_readonly("peak", &MemoryFigure::peak)
      .def_readonly("allocated", &MemoryFigure::allocated)
      .def_readonly("freed", &MemoryFigure::freed);
  py::class_<GpuMemory>(module, "GpuMemory", "The memory statistics of one virtual GPU.")
      .def_readonly("allocated_bytes", &GpuMemory::allocated_bytes)
      .def_readonly("requested_bytes", &GpuMemory::requested_bytes)
      .def_readonly("reserved_bytes", &GpuMemory::reserved_bytes)
      .def_readonly("blocks", &GpuMemory::blocks);

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
      "gpu_memory", [](c10::DeviceIndex gpu) { return rank_gpus()->memory(gpu); }, py::arg("gpu"));
  module.def("reset_peak_gpu_memory", &change_memory<&GpuMemory::reset_peaks>, py::arg("gpu"));
  module.def("reset_accumulated_gpu_memory", &change_memory<&GpuMemory::reset_accumulated>,
             py::arg("gpu"));
  module.def("empty_gpu_cache", [] { rank_gpus()->release_reserves(); });
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
      [](c10::DeviceIndex gpu) { return data_of(new_gpu_stream(gpu_device(gpu))); },
      py::arg("gpu"));
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
