#include <polyrank/bindings/bindings.h>
#include <polyrank/engine/cohort_threads.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/rank_random.h>
#include <polyrank/engine/run_operator.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

namespace polyrank {

namespace py = pybind11;

void init_lockstep_mode(py::module_& module) {
  py::class_<LockstepMode, std::shared_ptr<LockstepMode>>(module, "LockstepMode")
      .def(py::init<RankSet>(), py::arg("ranks"))
      .def_property_readonly("ranks", &LockstepMode::ranks)
      .def_property("enabled", &LockstepMode::is_enabled, &LockstepMode::set_enabled)
      .def("restart_generators", &LockstepMode::restart_generators)
      .def("store_generators", &LockstepMode::store_generators)
      .def("seed", &seed_ranks, py::arg("seed"))
      .def("seed_on", &seed_ranks_on, py::arg("device"), py::arg("seed"))
      .def("initial_seed", &initial_seeds, py::arg("device") = c10::Device(c10::kCPU))
      .def("get_rng_state", &rank_rng_state, py::arg("device"))
      .def("set_rng_state", &set_rank_rng_state, py::arg("device"), py::arg("state"));
  module.def(
      "call_counts", [] { return std::pair(call_counts().cohort_calls, call_counts().rank_calls); },
      "Operator calls so far: how many the cohorts took, how many one per rank would have been.");
  module.def("reset_call_counts", &reset_call_counts);
  module.def("num_cohort_threads", &num_cohort_threads,
             "How many cohorts of one operator call may run at once, while "
             "`torch.get_num_threads()` is 1; at first the number of processors.");
  module.def("set_num_cohort_threads", &set_num_cohort_threads, py::arg("num_threads"),
             "Let this many cohorts of one operator call run at once. Values do not depend on it.");
  module.def(
      "register_python_mode",
      [](const py::object& object, std::shared_ptr<LockstepMode> mode) {
        register_python_mode(object.ptr(), std::move(mode));
      },
      py::arg("python_mode"), py::arg("mode"));
  module.def(
      "unregister_python_mode",
      [](const py::object& object) { unregister_python_mode(object.ptr()); },
      py::arg("python_mode"));
}

}  // namespace polyrank
