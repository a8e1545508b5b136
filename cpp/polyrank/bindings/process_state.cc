#include <c10/core/DefaultDtype.h>
#include <polyrank/bindings/class_dict.h>
#include <polyrank/bindings/process_state.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

void check(int result) {
  if (result < 0) {
    throw py::error_already_set();
  }
}

// What the dict or class itself holds under that name, borrowed; null if nothing.
PyObject* value_in(const py::object& owner, const py::handle& name) {
  py::object dict = owner;
  if (PyType_Check(owner.ptr()) != 0) {
    dict =
        dict_of_class(reinterpret_cast<PyTypeObject*>(owner.ptr()));  // NOLINT(*-reinterpret-cast)
  }
  PyObject* value = PyDict_GetItemWithError(dict.ptr(), name.ptr());
  if (value == nullptr && PyErr_Occurred() != nullptr) {
    throw py::error_already_set();
  }
  return value;
}

// Null: nothing.
void put_value(const py::object& owner, const py::object& name, const py::object& value) {
  if (PyType_Check(owner.ptr()) != 0) {  // by its methods, which know who has looked it up
    check(PyObject_SetAttr(owner.ptr(), name.ptr(), value.ptr()));
  } else if (value) {
    check(PyDict_SetItem(owner.ptr(), name.ptr(), value.ptr()));
  } else {
    check(PyDict_DelItem(owner.ptr(), name.ptr()));
  }
}

py::object value_or_none(const py::object& value) { return value ? value : py::none(); }

void put_default_dtype(c10::ScalarType dtype) {
  if (dtype != c10::get_default_dtype_as_scalartype()) {
    py::module_::import("torch").attr("set_default_dtype")(py::cast(dtype));
  }
}

}  // namespace

ProcessState::ProcessState(py::object own_modules, py::dict modules)
    : own_modules_(std::move(own_modules)),
      first_modules_(std::move(modules)),
      first_default_dtype_(c10::get_default_dtype_as_scalartype()) {}

void ProcessState::add_value(py::object owner, py::object name, py::object make,
                             py::object on_change) {
  if (has_value(owner, name)) {
    return;
  }
  auto first = py::reinterpret_borrow<py::object>(value_in(owner, name));
  values_.push_back({.owner = std::move(owner),
                     .name = std::move(name),
                     .make = std::move(make),
                     .on_change = std::move(on_change),
                     .first = std::move(first)});
}

bool ProcessState::has_value(const py::object& owner, const py::object& name) const {
  return std::any_of(values_.begin(), values_.end(), [&](const Value& value) {
    return value.owner.is(owner) && value.name.equal(name);
  });
}

void ProcessState::add_entries(py::object container) {
  if (!KeptEntries::can_keep(container)) {
    throw InternalError("only the entries of dicts, lists and sets can be a rank's own");
  }
  const KeptEntries first(container);
  containers_.push_back({.container = std::move(container), .first = first, .present = first});
}

void ProcessState::add_switch(py::object set, py::object first) {
  switches_.push_back({.set = std::move(set), .first = std::move(first)});
}

void ProcessState::forget_ranks() noexcept {
  const auto kept = std::exchange(kept_, {});  // destructors of the program's objects may come here
  const auto switches = std::exchange(switches_, {});
}

ProcessState::Kept ProcessState::first_of_rank() const {
  return Kept{.values = {},
              .entries = {},
              .switches = {},
              .modules = first_modules_.attr("copy")(),
              .settings = first_settings_,
              .default_dtype = first_default_dtype_};
}

py::object ProcessState::first_value(const Value& value, std::int64_t rank) const {
  return rank == kProcess || value.make.is_none() ? value.first
                                                  : value.make(value_or_none(value.first), rank);
}

void ProcessState::exchange_values(Kept* leaving, Kept* coming, std::int64_t rank) {
  leaving->values.resize(values_.size());
  for (std::size_t i = coming->values.size(); i < values_.size(); ++i) {
    coming->values.push_back(first_value(values_[i], rank));
  }
  std::vector<py::object> changed;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    const Value& value = values_[i];
    PyObject* present = value_in(value.owner, value.name);
    if (leaving->values[i].ptr() != present) {
      leaving->values[i] = py::reinterpret_borrow<py::object>(present);
    }
    if (coming->values[i].ptr() != present) {
      put_value(value.owner, value.name, coming->values[i]);
      if (!value.on_change.is_none()) {
        changed.push_back(value.on_change);
      }
    }
  }
  for (const py::object& on_change : changed) {  // when all values are there
    on_change();
  }
}

void ProcessState::exchange_entries(Kept* leaving, const Kept& coming) {
  leaving->entries.resize(containers_.size());
  for (std::size_t i = 0; i < containers_.size(); ++i) {
    Container& place = containers_[i];
    if (!place.present.are_in(place.container)) {
      place.present = KeptEntries(place.container);
    }
    leaving->entries[i] = place.present;
    const KeptEntries& next = i < coming.entries.size() ? coming.entries[i] : place.first;
    if (!(next == place.present)) {
      next.put_into(place.container);
      place.present = next;
    }
  }
}

void ProcessState::exchange_switches(Kept* leaving, const Kept& coming) {
  leaving->switches.resize(switches_.size());
  for (std::size_t i = 0; i < switches_.size(); ++i) {
    const Switch& place = switches_[i];
    leaving->switches[i] = place.set(i < coming.switches.size() ? coming.switches[i] : place.first);
  }
}

void ProcessState::exchange_modules(Kept* leaving, const Kept& coming) {
  if (own_modules_.is_none()) {
    return;
  }
  if (!are_modules_as_put()) {
    present_modules_ = own_modules_();
  }
  leaving->modules = present_modules_;
  put_modules(coming.modules);
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
    if (PyDict_GetItem(modules, name) != module) {
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
    if (!coming.contains(py::handle(name)) && PyDict_GetItem(modules, name) != nullptr) {
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
  const auto [found, is_new] = kept_.try_emplace(rank);
  Kept& coming = found->second;
  if (is_new) {
    coming = first_of_rank();
  }
  Kept& leaving = kept_[present_];
  leaving.default_dtype = c10::get_default_dtype_as_scalartype();
  leaving.settings = TorchSettings::present();
  exchange_values(&leaving, &coming, rank);
  exchange_entries(&leaving, coming);
  exchange_switches(&leaving, coming);
  coming.settings.put(leaving.settings);
  put_default_dtype(coming.default_dtype);
  exchange_modules(&leaving, coming);
  present_ = rank;
}

}  // namespace polyrank
