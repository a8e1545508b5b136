#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/class_attribute.h>
#include <polyrank/bindings/name_switch.h>

namespace polyrank {

namespace py = pybind11;

void NameSwitch::add_code(py::object function, py::object code) {
  codes_.emplace_back(std::move(function), std::move(code));
}

void NameSwitch::add_built_in(py::object exchanged, py::object own) {
  static_cast<void>(exchanged.cast<ExchangedFunction&>());  // or throws now
  built_ins_.emplace_back(std::move(exchanged), std::move(own));
}

void NameSwitch::add_bound_method(py::object method, py::object function) {
  bound_methods_.emplace_back(std::move(method), std::move(function));
}

void NameSwitch::add_attribute(py::object owner, py::str name, py::object value) {
  attributes_.push_back(
      {.owner = std::move(owner), .name = std::move(name), .value = std::move(value)});
}

void NameSwitch::add_no_attribute(py::object owner, py::str name) {
  attributes_.push_back({.owner = std::move(owner), .name = std::move(name), .value = {}});
}

void NameSwitch::run() const {
  static PyObject* const code_name = PyUnicode_InternFromString("__code__");
  for (const auto& [function, code] : codes_) {
    if (PyObject_SetAttr(function.ptr(), code_name, code.ptr()) != 0) {
      throw py::error_already_set();
    }
  }
  for (const auto& [exchanged, own] : built_ins_) {
    exchanged.cast<ExchangedFunction&>().put(own);
  }
  for (const auto& [method, function] : bound_methods_) {
    bind_function(method, function);
  }
  for (const Attribute& attribute : attributes_) {
    if (attribute.value) {
      set_class_attribute(attribute.owner, attribute.name, attribute.value);
    } else {
      remove_class_attribute(attribute.owner, attribute.name);
    }
  }
}

void init_name_switch(py::module_& module) {
  py::class_<NameSwitch>(module, "NameSwitch")
      .def(py::init<>())
      .def("add_code", &NameSwitch::add_code, py::arg("function"), py::arg("code"))
      .def("add_built_in", &NameSwitch::add_built_in, py::arg("exchanged"), py::arg("own"))
      .def("add_bound_method", &NameSwitch::add_bound_method, py::arg("method"),
           py::arg("function"))
      .def("add_attribute", &NameSwitch::add_attribute, py::arg("owner"), py::arg("name"),
           py::arg("value"))
      .def("add_no_attribute", &NameSwitch::add_no_attribute, py::arg("owner"), py::arg("name"))
      .def("run", &NameSwitch::run);
}

}  // namespace polyrank
