// What a Python container held at one moment.
#pragma once

#include <pybind11/pybind11.h>

namespace polyrank {

// The entries of a dict, list or set, which can be put into it again. The container stays the
// object that it is, so whoever holds it sees them.
//
// Thread rule: under the interpreter's lock.
class KeptEntries {
 public:
  KeptEntries() = default;  // none
  explicit KeptEntries(pybind11::handle container);

  // Whether the container holds these, one by one the same objects.
  bool are_in(pybind11::handle container) const;

  // Let the container hold these alone.
  void put_into(pybind11::handle container) const;

  bool operator==(const KeptEntries& other) const { return copy_.ptr() == other.copy_.ptr(); }

  // Whether entries of such an object can be kept.
  static bool can_keep(pybind11::handle container);

 private:
  pybind11::object copy_;  // a dict, tuple or frozenset; null: empty
};

}  // namespace polyrank
