#include <polyrank/bindings/bindings.h>
#include <polyrank/core/rank_set.h>
#include <pybind11/operators.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <vector>

namespace polyrank {

namespace py = pybind11;

void init_core(py::module_& module) {
  py::class_<RankSet>(module, "RankSet", "A sorted set of global ranks.")
      .def(py::init([](const std::vector<std::int64_t>& ranks) { return RankSet::of(ranks); }),
           py::arg("ranks"))
      .def_static("first", &RankSet::first, py::arg("world_size"))
      .def("__len__", &RankSet::size)
      .def("__contains__", &RankSet::contains, py::arg("rank"))
      .def("__iter__", [](const RankSet& ranks) { return py::iter(py::cast(ranks.to_vector())); })
      .def("__hash__", &RankSet::hash)
      .def(py::self == py::self)
      .def("__str__", py::overload_cast<>(&RankSet::to_string, py::const_))
      .def("__repr__", [](const RankSet& ranks) { return "RankSet(" + ranks.to_string() + ")"; });
}

}  // namespace polyrank
