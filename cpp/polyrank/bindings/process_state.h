// What a Python process has once and each rank needs for itself, while ranks take turns.
#pragma once

#include <c10/core/ScalarType.h>
#include <polyrank/bindings/kept_entries.h>
#include <polyrank/world/torch_settings.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace polyrank {

// Puts each rank's in place when the turn comes to it, and keeps it when another rank gets it.
// Whoever reads it (Python's own code, pickle, C) finds the rank's by construction. In C++, because
// the turn changes hands at every collective.
// What changes hands: the values that dicts and classes hold under some names, the entries of some
// containers, what functions set, the modules that are ranks' own (NOTE [Modules of ranks] in
// own_modules.py), PyTorch's settings and default dtype.
//
// Thread rule: under the interpreter's lock; take() by the rank that has the turn, or when no rank
// runs.
class ProcessState {
 public:
  static constexpr std::int64_t kProcess = -1;  // before and after ranks run, in a rank's place

  // `own_modules`: gives a dict of the modules in sys.modules that are the present rank's own; None
  // if no module is. `modules`: those that a rank has at first.
  ProcessState(pybind11::object own_modules, pybind11::dict modules);

  // From now on each rank has its own of these. At first that is what is there now, or what
  // `make(value, rank)` makes of it when the rank first gets the turn. The present rank's stays.
  //
  // `owner`: a dict or a class. `on_change`: called when another value has come there; or None.
  // What is a rank's own already stays as it is.
  void add_value(pybind11::object owner, pybind11::object name, pybind11::object make,
                 pybind11::object on_change);
  // Requires: KeptEntries::can_keep(container)
  void add_entries(pybind11::object container);

  // A function that sets something, `first` at the start of each rank, and returns what was set
  // before.
  void add_switch(pybind11::object set, pybind11::object first);

  // Keeps what is in place for whom it belongs to, and puts the rank's (or kProcess's) there.
  void take(std::int64_t rank);

  std::int64_t present() const noexcept { return present_; }

  // The ranks are over: what was theirs is let go of, which may hold this object.
  // Requires: present() is kProcess
  void forget_ranks() noexcept;

  // A module may have been loaded: the present rank's own are to be found anew.
  void look_for_modules() noexcept { num_modules_ = kUnknown; }

 private:
  static constexpr Py_ssize_t kUnknown = -1;

  struct Value {
    pybind11::object owner;
    pybind11::object name;
    pybind11::object make;       // or None
    pybind11::object on_change;  // or None
    pybind11::object first;      // null: there is none under the name
  };
  struct Container {
    pybind11::object container;
    KeptEntries first;
    KeptEntries present;  // as they were put, or seen, last
  };
  struct Switch {
    pybind11::object set;
    pybind11::object first;
  };
  // What one had when another last got the turn; of what was added later it has the first.
  struct Kept {
    std::vector<pybind11::object> values;
    std::vector<KeptEntries> entries;
    std::vector<pybind11::object> switches;
    pybind11::dict modules;
    TorchSettings settings;
    c10::ScalarType default_dtype = c10::ScalarType::Float;
  };

  bool has_value(const pybind11::object& owner, const pybind11::object& name) const;
  Kept first_of_rank() const;
  pybind11::object first_value(const Value& value, std::int64_t rank) const;
  void exchange_values(Kept* leaving, Kept* coming, std::int64_t rank);
  void exchange_entries(Kept* leaving, const Kept& coming);
  void exchange_switches(Kept* leaving, const Kept& coming);
  void exchange_modules(Kept* leaving, const Kept& coming);
  bool are_modules_as_put() const;
  void put_modules(const pybind11::dict& coming);

  std::vector<Value> values_;
  std::vector<Container> containers_;
  std::vector<Switch> switches_;
  pybind11::object own_modules_;
  pybind11::dict first_modules_;
  TorchSettings first_settings_ = TorchSettings::present();
  c10::ScalarType first_default_dtype_;
  std::unordered_map<std::int64_t, Kept> kept_;  // of those that had the turn
  std::int64_t present_ = kProcess;
  pybind11::dict present_modules_;
  Py_ssize_t num_modules_ = kUnknown;  // in sys.modules when present_modules_ were right
};

}  // namespace polyrank
