#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/time_dicts.h>
#include <polyrank/collective/cost_model.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/timeline/link_bytes.h>
#include <polyrank/virtual_gpu/gpu_timeline.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;
namespace {

void init_speeds(py::module_& module) {
  py::class_<GpuSpeeds>(module, "GpuSpeeds", "What a GPU does in a second, and what is reached.")
      .def(py::init<>())
      .def_readwrite("multiprocessors", &GpuSpeeds::multiprocessors)
      .def_readwrite("peak_flops", &GpuSpeeds::peak_flops)
      .def_readwrite("matmul_efficiency", &GpuSpeeds::matmul_efficiency)
      .def_property(
          "tiles",
          [](const GpuSpeeds& self) {
            std::vector<std::pair<std::int64_t, std::int64_t>> tiles;
            tiles.reserve(self.tiles.size());
            for (const Tile& tile : self.tiles) {
              tiles.emplace_back(tile.m, tile.n);
            }
            return tiles;
          },
          [](GpuSpeeds& self, const std::vector<std::pair<std::int64_t, std::int64_t>>& tiles) {
            self.tiles.clear();
            for (const auto& [m, n] : tiles) {
              self.tiles.push_back({m, n});
            }
          })
      .def_readwrite("tile_overhead_k", &GpuSpeeds::tile_overhead_k)
      .def_readwrite("memory_bytes", &GpuSpeeds::memory_bytes)
      .def_readwrite("memory_efficiency", &GpuSpeeds::memory_efficiency)
      .def_readwrite("host_copy_bytes", &GpuSpeeds::host_copy_bytes)
      .def_readwrite("kernel_ns", &GpuSpeeds::kernel_ns)
      .def(
          "set_attention",
          [](GpuSpeeds& self, std::size_t kernel, bool is_causal, bool is_backward, double flops,
             double half_sequence) {
            AttentionSpeeds& speeds = self.attention.at(kernel);
            AttentionSpeed& forward = is_causal ? speeds.causal_forward : speeds.forward;
            AttentionSpeed& backward = is_causal ? speeds.causal_backward : speeds.backward;
            (is_backward ? backward : forward) = {flops, half_sequence};
          },
          py::arg("kernel"), py::arg("is_causal"), py::arg("is_backward"), py::arg("flops"),
          py::arg("half_sequence"));
  py::class_<NcclTables>(module, "NcclTables", "NCCL's tables for one generation of GPUs.")
      .def(py::init<>())
      .def_readwrite("base_latency", &NcclTables::base_latency)
      .def_readwrite("nvlink_latency", &NcclTables::nvlink_latency)
      .def_readwrite("pcie_latency", &NcclTables::pcie_latency)
      .def_readwrite("network_latency", &NcclTables::network_latency)
      .def_readwrite("most_ll", &NcclTables::most_ll)
      .def_readwrite("most_ring_ll128", &NcclTables::most_ring_ll128)
      .def_readwrite("most_tree", &NcclTables::most_tree)
      .def_readwrite("most_tree_ll128", &NcclTables::most_tree_ll128)
      .def_readwrite("most_nvls_tree", &NcclTables::most_nvls_tree)
      .def_readwrite("nvls_efficiency", &NcclTables::nvls_efficiency)
      .def_readwrite("node_speeds", &NcclTables::node_speeds)
      .def_readwrite("network_speeds", &NcclTables::network_speeds)
      .def_readwrite("most_nvls_heads", &NcclTables::most_nvls_heads)
      .def_readwrite("one_way_tree_efficiency", &NcclTables::one_way_tree_efficiency)
      .def_readwrite("trees_have_one_way", &NcclTables::trees_have_one_way)
      .def_readwrite("corrects_nvls_tree", &NcclTables::corrects_nvls_tree)
      .def_readwrite("tree_correction", &NcclTables::tree_correction)
      .def_readwrite("network_overhead", &NcclTables::network_overhead)
      .def_readwrite("ring_plateau", &NcclTables::ring_plateau)
      .def_readwrite("channel_copies", &NcclTables::channel_copies)
      .def_readwrite("memory_passes", &NcclTables::memory_passes);
  py::class_<NcclLinks>(module, "NcclLinks", "How the GPUs of a cluster are linked.")
      .def(py::init<>())
      .def_readwrite("has_nvlink", &NcclLinks::has_nvlink)
      .def_readwrite("gpu_links", &NcclLinks::gpu_links)
      .def_readwrite("node_channel", &NcclLinks::node_channel)
      .def_readwrite("node_channels", &NcclLinks::node_channels)
      .def_readwrite("nvls_channels", &NcclLinks::nvls_channels)
      .def_readwrite("network", &NcclLinks::network)
      .def_readwrite("network_latency", &NcclLinks::network_latency)
      .def_readwrite("network_cards", &NcclLinks::network_cards)
      .def_readwrite("gpus_per_node", &NcclLinks::gpus_per_node);
  py::class_<ClusterSpeeds>(module, "ClusterSpeeds", "What the times of a cluster depend on.")
      .def(py::init<>())
      .def_readwrite("gpu", &ClusterSpeeds::gpu)
      .def_readwrite("nccl", &ClusterSpeeds::nccl)
      .def_readwrite("links", &ClusterSpeeds::links)
      .def_readwrite("operator_time", &ClusterSpeeds::operator_time)
      .def_readwrite("view_time", &ClusterSpeeds::view_time)
      .def_readwrite("collective_time", &ClusterSpeeds::collective_time);
}

// The Python tests of kernel and collective times ask for what follows.

CollectiveKind kind_of(const std::string& name) {
  for (const CostRow& row : cost_table()) {
    if (to_string(row.kind) == name) {
      return row.kind;
    }
  }
  throw UsageError(str_cat("no collective with a cost is called ", name));
}

// What is chosen, and its time.
std::pair<std::string, double> collective_time(const ClusterSpeeds& speeds, const std::string& kind,
                                               std::int64_t ranks, std::int64_t nodes,
                                               double bytes) {
  const NcclGroup group{.ranks = ranks, .nodes = nodes};
  const CollectiveKind of = kind_of(kind);
  const NcclChoice choice =
      is_made_of_messages(of)
          ? message_time(even_messages(group, bytes), group, speeds.nccl, speeds.links)
          : nccl_time(of, group, bytes, speeds.nccl, speeds.links);
  return {std::string(to_string(choice.algorithm, choice.protocol)), choice.nanoseconds};
}

// What NCCL compares, by what it would choose.
std::map<std::string, double> compared_times(const ClusterSpeeds& speeds, const std::string& kind,
                                             std::int64_t ranks, std::int64_t nodes, double bytes) {
  const NcclGroup group{.ranks = ranks, .nodes = nodes};
  const CollectiveKind of = kind_of(kind);
  std::map<std::string, double> times;
  for (std::size_t one = 0; one < kNumNcclAlgorithms * kNumNcclProtocols; ++one) {
    const auto algorithm = static_cast<NcclAlgorithm>(one / kNumNcclProtocols);
    const auto protocol = static_cast<NcclProtocol>(one % kNumNcclProtocols);
    times[std::string(to_string(algorithm, protocol))] =
        nccl_time_of(of, group, bytes, speeds.nccl, speeds.links, algorithm, protocol);
  }
  return times;
}

std::int64_t matmul_time(const GpuSpeeds& gpu, std::int64_t m, std::int64_t n, std::int64_t k,
                         MathType math) {
  const auto product = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  return run_of({.kind = KernelKind::kMatmul,
                 .math = math,
                 .flops = 2 * product,
                 .bytes = 0,
                 .m = m,
                 .n = n,
                 .k = k},
                gpu)
      .time;
}

}  // namespace

void init_gpu_timeline(py::module_& module) {
  init_speeds(module);
  module.def(
      "matmul_time",
      [](const GpuSpeeds& gpu, std::int64_t m, std::int64_t n, std::int64_t k, std::size_t math) {
        return matmul_time(gpu, m, n, k, static_cast<MathType>(math));
      },
      py::arg("gpu"), py::arg("m"), py::arg("n"), py::arg("k"), py::arg("math"));
  module.def("collective_time", &collective_time, py::arg("speeds"), py::arg("kind"),
             py::arg("ranks"), py::arg("nodes"), py::arg("bytes"));
  module.def("compared_times", &compared_times, py::arg("speeds"), py::arg("kind"),
             py::arg("ranks"), py::arg("nodes"), py::arg("bytes"));
  py::class_<GpuTimeline, std::shared_ptr<GpuTimeline>>(module, "GpuTimeline",
                                                        "When the work of a GPU runs.")
      .def(py::init<ClusterSpeeds>(), py::arg("speeds"))
      .def("end_step", &GpuTimeline::end_step)
      .def("step_reports", [](const GpuTimeline& self) { return list_of(self.step_reports()); })
      .def("whole_report", [](const GpuTimeline& self) { return dict_of(self.whole_report()); })
      .def(
          "recording",
          [](const GpuTimeline& self, std::int64_t rank) {
            return columns_of(self.recording(rank));
          },
          py::arg("rank"))
      .def("chrome_trace", &GpuTimeline::chrome_trace, py::arg("rank"));
  module.def("keep_gpu_timeline", &keep_gpu_timeline, py::arg("timeline"));
  module.attr("MOST_QUEUED_LAUNCHES") = kMostQueuedLaunches;
}

}  // namespace polyrank
