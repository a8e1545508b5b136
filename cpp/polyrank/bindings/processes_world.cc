#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/failure_signal.h>
#include <polyrank/matching/turn_watch.h>
#include <polyrank/world/processes/processes_backend.h>
#include <polyrank/world/processes/rank_process.h>
#include <polyrank/world/processes/salted_launchers.h>
#include <polyrank/world/processes/shared_store.h>
#include <torch/csrc/utils/pybind.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

using NoGil = py::call_guard<py::gil_scoped_release>;

void run_signal_handlers() {
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) {
    throw py::error_already_set();
  }
}

// Counts the interpreter's threads, whoever made them.
bool has_other_threads() {
  const py::gil_scoped_acquire gil;
  return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) != nullptr;
}

SharedRunOptions options_of(std::optional<bool> is_random, std::uint64_t seed) {
  SharedRunOptions options{.seed = seed};
  if (is_random) {
    options.order = *is_random ? TurnOrder::kRandom : TurnOrder::kFirstReady;
  }
  return options;
}

// Its number and its ranks.
std::optional<std::pair<std::uint64_t, std::vector<std::int64_t>>> stillness(RankProcess& process) {
  if (std::optional<SharedRun::Stillness> present = process.run().stillness()) {
    return std::pair(present->number, std::move(present->ranks));
  }
  return std::nullopt;
}

void end(RankProcess& process, std::int64_t /*rank*/) { process.end(); }

void end_failed(RankProcess& process, std::int64_t /*rank*/, const std::string& failure) {
  process.run().end_failed(failure);
}

}  // namespace

void init_processes_world(py::module_& module) {
  process_hooks() = {.run_signal_handlers = &run_signal_handlers,
                     .has_other_threads = &has_other_threads};
  py::class_<RankProcess, std::shared_ptr<RankProcess>>(module, "SharedRun")
      .def(py::init([](std::int64_t world_size, std::optional<bool> random, std::uint64_t seed) {
             return std::make_shared<RankProcess>(world_size, options_of(random, seed));
           }),
           py::arg("world_size"), py::arg("random") = py::none(), py::arg("seed") = 0)
      .def(
          "begin", [](RankProcess& process, std::int64_t rank) { process.run().begin(rank); },
          py::arg("rank"))
      .def("take_turn", &RankProcess::take_turn)
      .def("set_read_by_launcher", &RankProcess::set_read_by_launcher, py::arg("files"))
      .def("stillness", &stillness, NoGil())
      .def(
          "end_stillness",
          [](RankProcess& process, std::uint64_t number, const std::vector<pid_t>& processes,
             int signal) {
            process.run().end_stillness(number, [&](std::int64_t rank) {
              ::kill(processes.at(static_cast<std::size_t>(rank)), signal);
            });
          },
          py::arg("number"), py::arg("processes"), py::arg("signal"), NoGil())
      .def(
          "raise_failure_on",
          [](std::shared_ptr<RankProcess> process, int signal) {
            raise_failure_on(signal, std::move(process));
          },
          py::arg("signal"))
      .def(
          "raise_failure", [](RankProcess& process) { process.run().raise_failure(); }, NoGil())
      .def(
          "is_shared",
          [](RankProcess& process, std::uintptr_t address) {
            // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel tells it as a number
            return process.run().arena().contains(reinterpret_cast<const void*>(address));
          },
          py::arg("address"))
      .def("end", &end, py::arg("rank"), NoGil())
      .def("end_failed", &end_failed, py::arg("rank"), py::arg("failure"), NoGil())
      .def(
          "died",
          [](RankProcess& process, std::int64_t rank, const std::string& how) {
            process.run().died(rank, how);
          },
          py::arg("rank"), py::arg("how"), NoGil())
      .def(
          "stop",
          [](RankProcess& process, const std::string& reason) {
            process.run().stop({.kind = FaultKind::kCollective, .text = reason});
          },
          py::arg("reason"), NoGil())
      .def(
          "activity", [](RankProcess& process) { return process.run().activity(); }, NoGil())
      .def(
          "num_waits", [](RankProcess& process) { return process.run().num_waits(); }, NoGil())
      .def(
          "leftovers", [](RankProcess& process) { return process.run().leftovers(); }, NoGil())
      .def("used_bytes", [](RankProcess& process) { return process.run().arena().used_bytes(); });

  py::class_<TurnWatch>(module, "TurnWatch")
      .def(py::init([](RankProcess& run, std::vector<pid_t> processes, double longest_seconds) {
             const std::chrono::duration<double> longest(longest_seconds);
             return TurnWatch(run.run().shared_from_this(), std::move(processes),
                              std::chrono::duration_cast<std::chrono::milliseconds>(longest));
           }),
           py::arg("run"), py::arg("processes"), py::arg("longest_seconds"))
      .def("look", [](TurnWatch& watch) { return watch.look(); }, NoGil());

  py::class_<SaltedLauncher>(module, "SaltedLauncher")
      .def_readonly("number", &SaltedLauncher::number)
      .def_readonly("run", &SaltedLauncher::run)
      .def_readonly("sockets", &SaltedLauncher::sockets);
  module.def("take_salted_launcher", &take_salted_launcher);

  py::class_<SharedStore, c10::intrusive_ptr<SharedStore>, c10d::Store>(module, "SharedStore")
      .def(py::init([](std::shared_ptr<RankProcess> run) {
             return c10::make_intrusive<SharedStore>(std::move(run));
           }),
           py::arg("run"));

  py::class_<ProcessesBackend, c10::intrusive_ptr<ProcessesBackend>, c10d::Backend>(
      module, "ProcessesBackend")
      .def(py::init([](std::shared_ptr<RankProcess> run, const std::string& name,
                       const std::vector<std::int64_t>& members, std::string shown_as) {
             return c10::make_intrusive<ProcessesBackend>(std::move(run), name, members,
                                                          std::move(shown_as));
           }),
           py::arg("run"), py::arg("name"), py::arg("members"), py::arg("shown_as"));
}

}  // namespace polyrank
