#include <polyrank/api/messages.h>
#include <polyrank/bindings/bindings.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/lockstep_group.h>
#include <polyrank/dist2/presence.h>
#include <polyrank/dist2/process_groups.h>
#include <polyrank/dist2/world_backends.h>
#include <pybind11/chrono.h>
#include <pybind11/stl.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/jit/python/pybind_utils.h>
#include <torch/csrc/utils/pybind.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

using dist2::GroupRequest;
using dist2::ProcessGroup;
using dist2::ProcessGroupFactory;
using dist2::Store;
using std::chrono::milliseconds;
using NoGil = py::call_guard<py::gil_scoped_release>;

// Items of a list, if all are a T.
template <class T, class PyT>
std::optional<c10::List<T>> list_of(const py::sequence& items) {
  c10::List<T> list;
  for (const auto& item : items) {
    if (!py::isinstance<PyT>(item) || py::isinstance<py::bool_>(item)) {
      return std::nullopt;
    }
    list.push_back(item.template cast<T>());
  }
  return list;
}

// An option as C++ factories read it.
c10::IValue as_option(const std::string& name, const py::handle& value) {
  if (value.is_none()) return {};
  if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
  if (py::isinstance<py::int_>(value)) return value.cast<std::int64_t>();
  if (py::isinstance<py::float_>(value)) return value.cast<double>();
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  if (THPVariable_Check(value.ptr())) return value.cast<at::Tensor>();
  if (py::isinstance<py::list>(value) || py::isinstance<py::tuple>(value)) {
    const auto items = py::reinterpret_borrow<py::sequence>(value);
    if (auto numbers = list_of<std::int64_t, py::int_>(items)) return *numbers;
    if (auto numbers = list_of<double, py::float_>(items)) return *numbers;
    if (auto texts = list_of<std::string, py::str>(items)) return *texts;
  }
  throw UsageError(str_cat("option ", name, " is a ", Py_TYPE(value.ptr())->tp_name,
                           "; backends in C++ take None, numbers, texts, tensors, and lists of "
                           "numbers or of texts"));
}

// A factory of the program's, in Python; null is what it gives that is no process group. Shared,
// since copies are made without the interpreter.
struct PythonFactory {
  std::shared_ptr<const py::object> function;

  ProcessGroup operator()(const GroupRequest& request) const {
    const py::gil_scoped_acquire gil;
    py::dict options;
    for (const auto& [name, value] : request.options) {
      options[py::str(name)] = torch::jit::toPyObject(value);
    }
    const py::object made = (*function)(request.store, request.rank, request.world_size,
                                        request.timeout, request.device, **options);
    return py::isinstance<c10d::ProcessGroup>(made) ? made.cast<ProcessGroup>() : ProcessGroup();
  }
};

PythonFactory python_factory(py::object function) {
  const auto drop = [](const py::object* held) {
    const py::gil_scoped_acquire gil;
    delete held;
  };
  return {std::shared_ptr<const py::object>(new py::object(std::move(function)), drop)};
}

// A factory in C++, as Python calls it.
struct NativeFactory {
  ProcessGroupFactory make;

  ProcessGroup operator()(Store store, int rank, int world_size, milliseconds timeout,
                          c10::Device device, const py::kwargs& options) const {
    GroupRequest request{.store = std::move(store),
                         .rank = rank,
                         .world_size = world_size,
                         .timeout = timeout,
                         .device = device};
    for (const auto& [name, value] : options) {
      const auto text = name.cast<std::string>();
      request.options.emplace(text, as_option(text, value));
    }
    const py::gil_scoped_release no_gil;
    return make(request);
  }
};

// What the program registered, if that was in Python: its options need no translation then.
py::object find_backend(const std::string& name) {
  const ProcessGroupFactory factory = dist2::find_backend(name);
  if (const auto* python = factory.target<PythonFactory>()) {
    return *python->function;
  }
  return py::cast(NativeFactory{factory});
}

std::tuple<Store, int, int> meeting_place(const std::string& backend, milliseconds timeout,
                                          const std::optional<Store>& store,
                                          std::optional<int> rank, std::optional<int> world_size) {
  const GroupRequest request = dist2::request_for(backend, timeout, c10::kCPU, {},
                                                  {store.value_or(Store()), rank, world_size});
  return {request.store, request.rank, request.world_size};
}

using dist2::LockstepGroup;

// A message on a group, to or from a peer that may differ between ranks.
template <Work (*kMessage)(const at::Tensor&, const c10::SymInt&, const MessageOptions&)>
Work message(const c10::intrusive_ptr<LockstepGroup>& self, const std::vector<at::Tensor>& tensors,
             const c10::SymInt& peer, int tag) {
  if (tensors.size() != 1) {
    throw UsageError("a message is one tensor, in a list");
  }
  return kMessage(tensors.front(), peer, {.tag = tag, .group = self});
}

void init_lockstep_group(py::module_& module) {
  py::class_<LockstepGroup, c10d::ProcessGroup, c10::intrusive_ptr<LockstepGroup>>(module,
                                                                                   "LockstepGroup")
      .def("rank", &LockstepGroup::rank_of_each)
      .def("send", &message<&isend>, py::arg("tensors"), py::arg("dstRank"), py::arg("tag"),
           NoGil())
      .def("recv", &message<&irecv>, py::arg("tensors"), py::arg("srcRank"), py::arg("tag"),
           NoGil())
      .def(
          "split_group",
          [](LockstepGroup& self, const std::vector<c10::SymInt>& ranks,
             const std::optional<milliseconds>& /*timeout*/, const py::object& /*opts*/,
             const std::optional<std::string>& /*group_name*/,
             const std::optional<std::string>& group_desc, const py::object& /*device_types*/) {
            return self.split(ranks, group_desc.value_or(""));
          },
          py::arg("ranks"), py::arg("timeout") = std::nullopt, py::arg("opts") = py::none(),
          py::arg("group_name") = std::nullopt, py::arg("group_desc") = std::nullopt,
          py::arg("device_types") = py::none());
}

}  // namespace

void init_dist2(py::module_& module) {
  py::class_<NativeFactory>(module, "NativeFactory")
      .def("__call__", &NativeFactory::operator(), py::arg("store"), py::arg("rank"),
           py::arg("world_size"), py::arg("timeout"), py::arg("device"));
  init_lockstep_group(module);
  module.def(
      "register_dist2_backend",
      [](const std::string& name, py::object factory) {
        dist2::register_backend(name, python_factory(std::move(factory)));
      },
      py::arg("name"), py::arg("factory"));
  module.def(
      "set_dist2_nccl_factory",
      [](py::object factory) {
        dist2::set_nccl_factory(factory.is_none() ? ProcessGroupFactory()
                                                  : python_factory(std::move(factory)));
      },
      py::arg("factory"));
  module.def("find_dist2_backend", &find_backend, py::arg("name"));
  module.def("dist2_meeting_place", &meeting_place, py::arg("backend"), py::arg("timeout"),
             py::arg("store") = std::nullopt, py::arg("rank") = std::nullopt,
             py::arg("world_size") = std::nullopt, NoGil());
  module.def("dist2_own_keys", &dist2::own_keys, py::arg("store"), py::arg("rank"),
             py::arg("world_size"), NoGil());
  module.def("dist2_roll_call", &dist2::roll_call, py::arg("store"), py::arg("rank"),
             py::arg("world_size"), py::arg("timeout"), NoGil());
  module.def("set_dist2_fake_world", &dist2::set_fake_world, py::arg("member") = std::nullopt);
}

}  // namespace polyrank
