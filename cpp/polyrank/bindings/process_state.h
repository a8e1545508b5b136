// What a Python process has once and each rank needs for itself, while ranks take turns.
#pragma once

#include <c10/core/ScalarType.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace polyrank {

// Puts each rank's in place when the turn comes to it, and keeps it when another rank gets it.
// Whoever reads it (Python's own code, pickle, C) finds the rank's by construction. In C++, because
// the turn changes hands at every collective.
// What changes hands: the values that dicts hold under some names, the modules that are ranks' own
// (NOTE [Modules of ranks] in own_modules.py), and the default dtype.
//
// Thread rule: under the interpreter's lock; take() by the rank that has the turn, or when no rank
// runs.
class ProcessState {
 public:
  static constexpr std::int64_t kProcess = -1;  // before and after ranks run, in a rank's place

  // `places`: tuples of a dict, or of the name of a module that may not be loaded yet, a name in
  // it, and what to call when another value has come there, or None. `own_modules`: gives a dict of
  // the modules in sys.modules that are the present rank's own; None if no module is.
  ProcessState(const pybind11::list& places, pybind11::object own_modules);

  // What a rank has at first: values by place, and modules.
  void add(std::int64_t rank, std::vector<pybind11::object> values, pybind11::dict modules);

  // Keeps what is in place for whom it belongs to, and puts the rank's (or kProcess's) there.
  // Requires: add(rank)
  void take(std::int64_t rank);

  // A module may have been loaded: the present rank's own are to be found anew.
  void look_for_modules() noexcept { num_modules_ = kUnknown; }

 private:
  static constexpr Py_ssize_t kUnknown = -1;

  struct Place {
    pybind11::object module_name;  // while that module is not loaded
    pybind11::object dict;         // null until then
    pybind11::object name;
    pybind11::object on_change;  // or None
  };
  struct Kept {
    std::vector<pybind11::object> values;  // by place; null: no value
    pybind11::dict modules;
    c10::ScalarType default_dtype = c10::ScalarType::Float;
  };

  static void find_dict(Place* place);
  bool exchange(const Place& place, pybind11::object* leaving, const pybind11::object& coming);
  void exchange_values(Kept* leaving, const Kept& coming);
  bool are_modules_as_put() const;
  void put_modules(const pybind11::dict& coming);

  std::vector<Place> places_;
  pybind11::object own_modules_;
  std::unordered_map<std::int64_t, Kept> kept_;  // of all but the present one
  std::int64_t present_ = kProcess;
  pybind11::dict present_modules_;
  Py_ssize_t num_modules_ = kUnknown;  // in sys.modules when present_modules_ were right
};

}  // namespace polyrank
