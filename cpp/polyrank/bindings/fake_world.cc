#include <polyrank/bindings/bindings.h>
#include <polyrank/group/group_family.h>
#include <polyrank/world/fake/fake_process_group.h>
#include <polyrank/world/fake/fake_store.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <cstdint>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/FakeProcessGroup.hpp>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

using BackendOptions = c10::intrusive_ptr<c10d::Backend::Options>;

// Ours as they are; PyTorch's with our defaults for what they lack.
BackendOptions as_ours(const BackendOptions& options) {
  const auto* theirs = dynamic_cast<const c10d::FakeProcessGroup::Options*>(options.get());
  if (theirs == nullptr) {
    return options;
  }
  auto ours = c10::make_intrusive<FakeOptions>();
  ours->fake_option = theirs->fake_option;
  ours->error_on_collective = theirs->error_on_collective;
  return ours;
}

std::vector<LayoutDim> as_dims(const std::vector<std::pair<std::int64_t, std::int64_t>>& dims) {
  std::vector<LayoutDim> layout;
  layout.reserve(dims.size());
  for (const auto& [size, stride] : dims) {
    layout.push_back({size, stride});
  }
  return layout;
}

c10::intrusive_ptr<c10d::ProcessGroup> make_fake_group(
    c10::intrusive_ptr<c10d::Store> store, const c10::intrusive_ptr<FakeProcessGroup>& backend,
    const std::vector<std::string>& devices) {
  std::vector<c10::DeviceType> types;
  types.reserve(devices.size());
  for (const std::string& device : devices) {
    types.push_back(c10::Device(device).type());
  }
  return c10::make_intrusive<FakeGroup>(std::move(store), backend, types);
}

void init_fake_members(py::module_& module) {
  py::class_<FakeRank, std::shared_ptr<FakeRank>>(module, "FakeRank")
      .def(py::init<std::int64_t>(), py::arg("global_rank"))
      .def_property(
          "value", [](const FakeRank& rank) { return rank.value.load(); },
          [](FakeRank& rank, std::int64_t value) { rank.value = value; });
  py::class_<FakeMember>(module, "FakeMember")
      .def_static(
          "listed",
          [](const std::vector<std::int64_t>& members, std::shared_ptr<FakeRank> rank) {
            return FakeMember(GroupFamily::single(members), std::move(rank));
          },
          py::arg("members"), py::arg("rank"))
      .def_static(
          "fibers",
          [](const std::vector<std::pair<std::int64_t, std::int64_t>>& dims, std::int64_t num_ranks,
             std::shared_ptr<FakeRank> rank) {
            return FakeMember(GroupFamily::fibers(as_dims(dims), num_ranks), std::move(rank));
          },
          py::arg("dims"), py::arg("num_ranks"), py::arg("rank"))
      .def_property_readonly("own_rank", &FakeMember::own_rank)
      .def_property_readonly("group_size", &FakeMember::group_size)
      .def_property_readonly("group_rank", &FakeMember::group_rank)
      .def("group_rank_of", &FakeMember::group_rank_of, py::arg("global_rank"))
      .def("global_rank_of", &FakeMember::global_rank_of, py::arg("group_rank"))
      .def("ranks", [](const FakeMember& member) { return member.ranks().to_vector(); })
      .def("__str__", &FakeMember::to_string);
}

}  // namespace

void init_fake_world(py::module_& module) {
  py::module_::import("torch._C._distributed_c10d");  // registers the types that ours derive from
  init_fake_members(module);
  py::class_<FakeStore, c10d::Store, c10::intrusive_ptr<FakeStore>>(module, "FakeStore")
      .def(py::init([] { return c10::make_intrusive<FakeStore>(); }));
  py::class_<FakeProcessGroup, c10d::Backend, c10::intrusive_ptr<FakeProcessGroup>> group(
      module, "FakeProcessGroup");
  py::class_<FakeOptions, c10d::Backend::Options, c10::intrusive_ptr<FakeOptions>>(group, "Options")
      .def(py::init([](const std::string& values, bool checks) {
             auto options = c10::make_intrusive<FakeOptions>();
             options->values = fake_values_from_name(values);
             options->checks = checks;
             return options;
           }),
           py::arg("values") = "mirror", py::arg("checks") = true)
      .def_property(
          "values", [](const FakeOptions& options) { return to_string(options.values); },
          [](FakeOptions& options, const std::string& name) {
            options.values = fake_values_from_name(name);
          })
      .def_readwrite("checks", &FakeOptions::checks)
      .def_readwrite("fake_option", &FakeOptions::fake_option)
      .def_readwrite("error_on_collective", &FakeOptions::error_on_collective);
  group
      .def_static(
          "_create_internal",
          [](int rank, int world_size, const BackendOptions& options) {
            return FakeProcessGroup::create(rank, world_size, as_ours(options));
          },
          py::arg("rank"), py::arg("world_size"), py::arg("options") = BackendOptions())
      .def_static(
          "of_member",
          [](const FakeMember& member, const BackendOptions& options) {
            return FakeProcessGroup::of_member(member, as_ours(options));
          },
          py::arg("member"), py::arg("options") = BackendOptions())
      .def_property_readonly("member", &FakeProcessGroup::member)
      .def_property_readonly("options", &FakeProcessGroup::options)
      .def("expect_message", &FakeProcessGroup::expect_message, py::arg("message"), py::arg("tag"))
      .def("rank", [](const FakeProcessGroup& self) { return self.member().group_rank(); });
  module.def("make_fake_group", &make_fake_group, py::arg("store"), py::arg("backend"),
             py::arg("devices"));
}

}  // namespace polyrank
