// Names of other libraries that are given something else, many at once.
#pragma once

#include <polyrank/bindings/exchanged_function.h>
#include <pybind11/pybind11.h>

#include <utility>
#include <vector>

namespace polyrank {

// What is put in the place of each of some names; python/polyrank/replacing says which. A mode that
// is entered switches some 300: as calls from Python they would cost more than the rest of
// entering.
//
// Thread rule: under the interpreter's lock.
class NameSwitch {
 public:
  // The function is to run `code`.
  void add_code(pybind11::object function, pybind11::object code);

  // As ExchangedFunction::put(own), of an object that Python holds.
  void add_built_in(pybind11::object exchanged, pybind11::object own);

  // As bind_function(method, function).
  void add_bound_method(pybind11::object method, pybind11::object function);

  // As set_class_attribute(owner, name, value).
  void add_attribute(pybind11::object owner, pybind11::str name, pybind11::object value);

  // The owner itself is not to have the name.
  void add_no_attribute(pybind11::object owner, pybind11::str name);

  // Puts all in place. Throws: what setting an attribute does; those before it are in place then.
  void run() const;

 private:
  using Pair = std::pair<pybind11::object, pybind11::object>;
  struct Attribute {
    pybind11::object owner;
    pybind11::str name;
    pybind11::object value;  // null: none
  };

  std::vector<Pair> codes_;
  std::vector<Pair> built_ins_;
  std::vector<Pair> bound_methods_;
  std::vector<Attribute> attributes_;
};

}  // namespace polyrank
