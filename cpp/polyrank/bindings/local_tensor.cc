#include <polyrank/bindings/bindings.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_storage.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/local_tensor_state.h>
#include <polyrank/engine/run_operator.h>
#include <pybind11/stl.h>
#include <torch/csrc/Storage.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/csrc/utils/python_symnode.h>

#include <cstring>
#include <exception>
#include <memory>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// The Python class of LocalTensors; set once by the package.
PyTypeObject* local_tensor_class = nullptr;

// `torch.Tensor.__torch_function__` as LocalTensors have it: switched off. Set with the class.
PyObject* disabled_torch_function = nullptr;

// PyTorch's argument parser asks each tensor of a subclass for `__torch_function__` by its C name.
// With this in the class's slot the answer costs no look-up, which is a tenth of a small operator.
PyObject* get_attribute(PyObject* self, char* name) {
  if (Py_TYPE(self) == local_tensor_class && std::strcmp(name, "__torch_function__") == 0) {
    return Py_NewRef(disabled_torch_function);
  }
  const auto attribute = py::reinterpret_steal<py::object>(PyUnicode_InternFromString(name));
  return attribute ? PyObject_GetAttr(self, attribute.ptr()) : nullptr;
}

void make_python_object(const at::Tensor& tensor) {
  const py::gil_scoped_acquire gil;
  Py_XDECREF(THPVariable_Wrap(tensor, local_tensor_class));
}

// The class of FakeTensors once its module is loaded, else null.
PyTypeObject* fake_tensor_class() {
  static PyTypeObject* found = nullptr;  // guarded by the interpreter's lock
  if (found == nullptr) {
    PyObject* const modules = PyImport_GetModuleDict();
    PyObject* const module = PyDict_GetItemString(modules, "torch._subclasses.fake_tensor");
    if (module != nullptr && PyObject_HasAttrString(module, "FakeTensor") == 1) {
      found = reinterpret_cast<PyTypeObject*>(PyObject_GetAttrString(module, "FakeTensor"));
    }
  }
  return found;
}

// FakeTensors may be a cohort's tensor; every other subclass handles operators itself.
bool handles_operators_itself(const at::Tensor& tensor) {
  const py::gil_scoped_acquire gil;
  PyTypeObject* const fake = fake_tensor_class();
  return fake == nullptr || PyObject_TypeCheck(py::cast(tensor).ptr(), fake) == 0;
}

std::optional<c10::Scalar> wrapped_number(const at::Tensor& tensor) {
  const py::gil_scoped_acquire gil;
  // In its dict: a look-up that fails would write an AttributeError for each scalar.
  static PyObject* const name = PyUnicode_InternFromString("_wrapped_number");
  PyObject** const dict = _PyObject_GetDictPtr(py::cast(tensor).ptr());
  if (dict == nullptr || *dict == nullptr) {
    return std::nullopt;
  }
  PyObject* const found = PyDict_GetItemWithError(*dict, name);
  if (found == nullptr) {
    return std::nullopt;
  }
  const auto number = py::reinterpret_borrow<py::object>(found);
  if (torch::is_symint(number)) {
    return py::cast<c10::SymInt>(number);
  }
  if (torch::is_symfloat(number)) {
    return py::cast<c10::SymFloat>(number);
  }
  if (torch::is_symbool(number)) {
    return py::cast<c10::SymBool>(number);
  }
  return std::nullopt;
}

// `is_seen` is asked with the interpreter's lock. A tensor with memory of its own is left as it is.
void set_foreign(const at::Tensor& tensor, py::function is_seen) {
  LocalTensorImpl* const impl = LocalTensorImpl::from(tensor);
  if (impl == nullptr || impl->is_whole()) {
    return;
  }
  LocalStorage& storage = impl->local_storage();
  const bool is_foreign = storage.partition().is_uniform() && storage.has_data() &&
                          storage.storage(0).allocator() == nullptr;
  if (!is_foreign) {
    return;
  }
  const std::shared_ptr<py::function> ask(new py::function(std::move(is_seen)),
                                          [](py::function* function) {
                                            const py::gil_scoped_acquire gil;
                                            delete function;
                                          });
  storage.set_foreign([ask] {
    const py::gil_scoped_acquire gil;
    try {
      return (*ask)().cast<bool>();
    } catch (const std::exception&) {  // then it had better be
      return true;
    }
  });
}

void set_local_tensor_class(const py::type& type) {
  local_tensor_class = reinterpret_cast<PyTypeObject*>(type.ptr());
  Py_INCREF(local_tensor_class);
  disabled_torch_function = py::object(type.attr("__torch_function__")).release().ptr();
  local_tensor_class->tp_getattr = &get_attribute;
  interpreter_hooks().make_python_object = &make_python_object;
  interpreter_hooks().handles_operators_itself = &handles_operators_itself;
  interpreter_hooks().wrapped_number = &wrapped_number;
  interpreter_hooks().holds_interpreter = [] { return PyGILState_Check() == 1; };
}

at::Tensor make_from_dict(const py::dict& tensors) {
  std::vector<std::pair<std::int64_t, at::Tensor>> by_rank;
  by_rank.reserve(tensors.size());
  for (const auto& [rank, tensor] : tensors) {
    by_rank.emplace_back(py::cast<std::int64_t>(rank), py::cast<at::Tensor>(tensor));
  }
  return make_local_tensor(by_rank);
}

// The common refinement of all LocalTensors and rank-dependent numbers among `values`.
std::vector<RankSet> common_cohorts(const py::list& values, const RankSet& ranks) {
  RankPartition partition = RankPartition::uniform(ranks);
  for (const py::handle value : values) {
    if (THPVariable_Check(value.ptr())) {
      if (const auto* impl = LocalTensorImpl::from(THPVariable_Unpack(value.ptr()))) {
        partition = meet(partition, impl->partition());
      }
    } else if (torch::is_symint(value) || torch::is_symfloat(value) || torch::is_symbool(value)) {
      const py::object node = value.attr("node");
      if (py::isinstance<LocalNode>(node)) {
        partition = meet(partition, node.cast<const LocalNode&>().partition());
      }
    }
  }
  std::vector<RankSet> cohorts;
  cohorts.reserve(static_cast<std::size_t>(partition.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    cohorts.push_back(partition.cohort(cohort));
  }
  return cohorts;
}

// Positions of the LocalTensors among `tensors` that are more than one cohort.
std::vector<py::ssize_t> positions_of_split(const py::list& tensors) {
  std::vector<py::ssize_t> positions;
  py::ssize_t position = 0;
  for (const py::handle tensor : tensors) {
    const auto* impl = THPVariable_Check(tensor.ptr())
                           ? LocalTensorImpl::from(THPVariable_Unpack(tensor.ptr()))
                           : nullptr;
    if (impl != nullptr && impl->partition().num_cohorts() > 1) {
      positions.push_back(position);
    }
    ++position;
  }
  return positions;
}

py::object run_in_engine(const py::object& function, const py::args& args,
                         const py::kwargs& kwargs) {
  cover_operators();
  const ForceEngineGuard force;
  return function(*args, **kwargs);
}

void resize_storage(const py::object& storage, const c10::SymInt& nbytes) {
  LocalStorage::from(THPStorage_Unpack(storage.ptr()))->resize(nbytes);
}

// The address of memory that is the same on all ranks for good: a plain tensor's, or none.
std::optional<std::uintptr_t> plain_address(const py::object& storage) {
  const LocalStorage& memory = *LocalStorage::from(THPStorage_Unpack(storage.ptr()));
  const bool is_plain = memory.partition().is_uniform() && memory.has_data() &&
                        (memory.is_borrowed() || memory.storage(0).nbytes() == 0);
  return is_plain ? std::optional(reinterpret_cast<std::uintptr_t>(memory.storage(0).data()))
                  : std::nullopt;
}

// Whether tensors on this storage have bytes on every rank, and no tensor elsewhere has them, too.
bool has_memory_alone(const py::object& storage) {
  const LocalStorage& memory = *LocalStorage::from(THPStorage_Unpack(storage.ptr()));
  bool has_bytes = memory.has_data() && memory.can_replace();
  for (std::int32_t cohort = 0; has_bytes && cohort < memory.partition().num_cohorts(); ++cohort) {
    has_bytes = memory.storage(cohort).nbytes() > 0;
  }
  return has_bytes;
}

}  // namespace

void init_local_tensor(py::module_& module) {
  py::class_<Cohort>(module, "Cohort", "What some ranks hold.")
      .def_readonly("ranks", &Cohort::ranks, "The ranks (a RankSet).")
      .def_readonly("tensor", &Cohort::tensor, "Their tensor, read-only, without a copy.");
  py::class_<LocalStorage, c10::intrusive_ptr<LocalStorage>>(module, "LocalStorage")
      .def("_state", &storage_state);
  module.def("set_local_tensor_class", &set_local_tensor_class, py::arg("type"));
  module.def("make_local_tensor", &make_from_dict, py::arg("tensors"));
  module.def(
      "is_local_tensor", [](const at::Tensor& t) { return LocalTensorImpl::from(t) != nullptr; },
      py::arg("tensor"));
  module.def("cohorts", &cohorts, py::arg("tensor"));
  module.def("on_rank", &on_rank, py::arg("tensor"), py::arg("rank"));
  module.def("take_rank", &take_rank, py::arg("tensor"), py::arg("rank"));
  module.def("put_rank", &put_rank, py::arg("tensor"), py::arg("rank"), py::arg("value"));
  module.def("ranks_of", &ranks_of, py::arg("tensor"));
  module.def("lend", &lend, py::arg("tensor"));
  module.def("set_foreign", &set_foreign, py::arg("tensor"), py::arg("is_seen"));
  module.def("reconcile", &reconcile, py::arg("tensor"));
  module.def("storage_of", &storage_of, py::arg("tensor"));
  module.def("resize_storage", &resize_storage, py::arg("storage"), py::arg("nbytes"));
  module.def("plain_address", &plain_address, py::arg("storage"));
  module.def("has_memory_alone", &has_memory_alone, py::arg("storage"));
  module.def("make_storage", &make_storage, py::arg("ranks"), py::arg("storages"));
  module.def(
      "has_uniform_geometry",
      [](const at::Tensor& t) { return LocalTensorImpl::from(t)->has_uniform_geometry(); },
      py::arg("tensor"));
  module.def("geometry_of", &geometry_of, py::arg("tensor"));
  module.def("tensor_on_storage", &tensor_on_storage, py::arg("storage"), py::arg("dtype"),
             py::arg("ranks"), py::arg("geometries"));
  module.def("common_cohorts", &common_cohorts, py::arg("values"), py::arg("ranks"));
  module.def("positions_of_split", &positions_of_split, py::arg("tensors"));
  module.def("run_in_engine", &run_in_engine, py::arg("function"));
  module.def("cover_operators", &cover_operators);
}

}  // namespace polyrank
