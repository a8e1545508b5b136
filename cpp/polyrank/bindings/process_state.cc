#include <c10/core/DefaultDtype.h>
#include <polyrank/bindings/process_state.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <torch/csrc/utils/pybind.h>

#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

void check(int result) {
  if (result < 0) {
    throw py::error_already_set();
  }
}

// What the dict holds under that name; null if nothing.
PyObject* value_in(const py::handle& dict, const py::handle& name) {
  PyObject* value = PyDict_GetItemWithError(dict.ptr(), name.ptr());
  if (value == nullptr && PyErr_Occurred() != nullptr) {
    throw py::error_already_set();
  }
  return value;
}

void put_default_dtype(c10::ScalarType dtype) {
  if (dtype != c10::get_default_dtype_as_scalartype()) {
    py::module_::import("torch").attr("set_default_dtype")(py::cast(dtype));
  }
}

}  // namespace

ProcessState::ProcessState(const py::list& places, py::object own_modules)
    : own_modules_(std::move(own_modules)) {
  for (const py::handle& place : places) {
    const auto [owner, name, on_change] =
        place.cast<std::tuple<py::object, py::object, py::object>>();
    const bool is_dict = py::isinstance<py::dict>(owner);
    places_.push_back({.module_name = is_dict ? py::object() : owner,
                       .dict = is_dict ? owner : py::object(),
                       .name = name,
                       .on_change = on_change});
  }
}

void ProcessState::add(std::int64_t rank, std::vector<py::object> values, py::dict modules) {
  if (values.size() != places_.size()) {
    throw InternalError(
        str_cat("a rank's state has ", values.size(), " values for ", places_.size(), " places"));
  }
  kept_[rank] = Kept{.values = std::move(values),
                     .modules = std::move(modules),
                     .default_dtype = c10::get_default_dtype_as_scalartype()};
}

void ProcessState::find_dict(Place* place) {
  PyObject* module = value_in(PyImport_GetModuleDict(), place->module_name);
  if (module != nullptr && PyModule_Check(module) != 0) {
    place->dict = py::reinterpret_borrow<py::object>(PyModule_GetDict(module));
  }
}

// Whether another value has come to the place.
bool ProcessState::exchange(const Place& place, py::object* leaving, const py::object& coming) {
  *leaving = py::reinterpret_borrow<py::object>(value_in(place.dict, place.name));
  if (leaving->ptr() == coming.ptr()) {
    return false;
  }
  if (coming) {
    check(PyDict_SetItem(place.dict.ptr(), place.name.ptr(), coming.ptr()));
  } else {
    check(PyDict_DelItem(place.dict.ptr(), place.name.ptr()));
  }
  return true;
}

void ProcessState::exchange_values(Kept* leaving, const Kept& coming) {
  leaving->values.resize(places_.size());
  std::vector<const Place*> changed;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    Place& place = places_[i];
    if (!place.dict) {
      find_dict(&place);
    }
    if (!place.dict) {
      leaving->values[i] = py::none();
    } else if (exchange(place, &leaving->values[i], coming.values[i]) &&
               !place.on_change.is_none()) {
      changed.push_back(&place);
    }
  }
  for (const Place* place : changed) {  // when all values are there
    place->on_change();
  }
}

bool ProcessState::are_modules_as_put() const {
  PyObject* modules = PyImport_GetModuleDict();
  if (PyDict_Size(modules) != num_modules_) {
    return false;
  }
  PyObject* name = nullptr;
  PyObject* module = nullptr;
  Py_ssize_t position = 0;
  while (PyDict_Next(present_modules_.ptr(), &position, &name, &module) != 0) {
    if (value_in(modules, name) != module) {
      return false;
    }
  }
  return true;
}

void ProcessState::put_modules(const py::dict& coming) {
  PyObject* modules = PyImport_GetModuleDict();
  PyObject* name = nullptr;
  PyObject* module = nullptr;
  Py_ssize_t position = 0;
  while (PyDict_Next(present_modules_.ptr(), &position, &name, &module) != 0) {
    if (!coming.contains(py::handle(name)) && value_in(modules, name) != nullptr) {
      check(PyDict_DelItem(modules, name));
    }
  }
  check(PyDict_Update(modules, coming.ptr()));
  present_modules_ = coming;
  num_modules_ = PyDict_Size(modules);
}

void ProcessState::take(std::int64_t rank) {
  if (rank == present_) {
    return;
  }
  const auto found = kept_.find(rank);
  if (found == kept_.end()) {
    throw InternalError(str_cat("rank ", rank, " has no state to put in place"));
  }
  const Kept coming = std::move(found->second);
  Kept& leaving = kept_[present_];
  leaving.default_dtype = c10::get_default_dtype_as_scalartype();
  if (!own_modules_.is_none()) {
    if (!are_modules_as_put()) {
      present_modules_ = own_modules_();
    }
    leaving.modules = present_modules_;
  }
  exchange_values(&leaving, coming);
  put_default_dtype(coming.default_dtype);
  if (!own_modules_.is_none()) {
    put_modules(coming.modules);
  }
  present_ = rank;
}

}  // namespace polyrank
