#include <polyrank/bindings/bindings.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/world/rank_thread.h>
#include <polyrank/world/threads_backend.h>
#include <torch/csrc/utils/pybind.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

using NoGil = py::call_guard<py::gil_scoped_release>;

TurnOptions turn_options(bool is_random, std::uint64_t seed) {
  return {.order = is_random ? TurnOrder::kRandom : TurnOrder::kFirstReady, .seed = seed};
}

void stop(RankTurns& turns, const std::string& reason) {
  turns.stop(std::make_exception_ptr(CollectiveError(reason)));
}

void without_interpreter(const std::function<void()>& wait) {
  if (PyGILState_Check() == 1) {
    const py::gil_scoped_release no_gil;
    wait();
  } else {
    wait();
  }
}

}  // namespace

void init_threads_world(py::module_& module) {
  interpreter_hooks().without_interpreter = &without_interpreter;
  py::class_<RankTurns, std::shared_ptr<RankTurns>>(module, "RankTurns")
      .def(py::init([](std::int64_t world_size, bool is_random, std::uint64_t seed) {
             return std::make_shared<RankTurns>(world_size, turn_options(is_random, seed));
           }),
           py::arg("world_size"), py::kw_only(), py::arg("random") = false, py::arg("seed") = 0)
      .def("stop", &stop, py::arg("reason"), NoGil())
      .def("leftovers", &RankTurns::leftovers, NoGil());

  py::class_<RankThread, std::shared_ptr<RankThread>>(module, "RankThread")
      .def(py::init<std::shared_ptr<RankTurns>, std::int64_t>(), py::arg("turns"), py::arg("rank"))
      .def_property_readonly("rank", &RankThread::rank)
      .def("begin", &RankThread::begin)
      .def("end", &RankThread::end)
      .def("end_failed", &RankThread::end_failed, py::arg("failure"))
      .def("pause", &RankThread::pause)
      .def("resume", &RankThread::resume);

  py::class_<RankStore, c10::intrusive_ptr<RankStore>, c10d::Store>(module, "RankStore")
      .def(py::init([] { return c10::make_intrusive<RankStore>(); }));

  py::class_<ThreadsBackend, c10::intrusive_ptr<ThreadsBackend>, c10d::Backend>(module,
                                                                                "ThreadsBackend")
      .def(py::init([](std::shared_ptr<RankThread> rank, const std::string& name,
                       const std::vector<std::int64_t>& members) {
             return c10::make_intrusive<ThreadsBackend>(std::move(rank), name, members);
           }),
           py::arg("rank"), py::arg("name"), py::arg("members"));
}

}  // namespace polyrank
