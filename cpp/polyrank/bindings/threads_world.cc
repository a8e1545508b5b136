#include <polyrank/bindings/attribute_sets.h>
#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/builtin_calls.h>
#include <polyrank/bindings/process_state.h>
#include <polyrank/bindings/turn_waits.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/lockstep/point_to_point.h>
#include <polyrank/world/rank_thread.h>
#include <polyrank/world/threads/own_directory.h>
#include <polyrank/world/threads/rank_store.h>
#include <polyrank/world/threads/threads_backend.h>
#include <torch/csrc/utils/pybind.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

using NoGil = py::call_guard<py::gil_scoped_release>;

TurnOptions turn_options(bool is_random, std::uint64_t seed, const std::string& noun) {
  return {
      .order = is_random ? TurnOrder::kRandom : TurnOrder::kFirstReady, .seed = seed, .noun = noun};
}

// What one thread waits for and another one brings about.
struct RankEvent {
  std::shared_ptr<RankThread> thread;
  std::shared_ptr<Meeting> meeting;
};

void stop(RankTurns& turns, const std::string& reason) {
  turns.stop(std::make_exception_ptr(CollectiveError(reason)));
}

std::shared_ptr<RankThread> rank_thread(std::shared_ptr<RankTurns> turns, std::int64_t rank,
                                        std::shared_ptr<ProcessState> state) {
  std::function<void()> on_turn;
  if (state != nullptr) {
    on_turn = [state = std::move(state), rank] {
      const py::gil_scoped_acquire gil;
      state->take(rank);
    };
  }
  return std::make_shared<RankThread>(std::move(turns), rank, std::move(on_turn));
}

std::shared_ptr<RankThread> current_thread() {
  RankThread* const thread = RankThread::current();
  return thread == nullptr ? nullptr : thread->shared_from_this();
}

// Never destroyed: the functions are called until the process ends.
InterceptedBuiltins& turn_waits() {
  static auto* const all = new InterceptedBuiltins();
  return *all;
}

bool takes_turns(PyObject* /*self*/, PyObject* const* /*args*/, Py_ssize_t /*num_args*/) {
  const RankThread* const thread = RankThread::current();
  return thread != nullptr && thread->takes_turns();
}

bool always(PyObject* /*self*/, PyObject* const* /*args*/, Py_ssize_t /*num_args*/) { return true; }

void add_builtin_by_name(const py::object& function, const std::string& handler) {
  // Whoever releases a lock wakes who waits for it.
  const bool by_all = handler == "release" || handler == "put";
  turn_waits().add(function, turn_wait_handler(handler), by_all ? &always : &takes_turns);
}

// `handler(original, *args, **keywords)`.
void add_builtin_in_python(const py::object& function, py::object handler) {
  turn_waits().add(
      function,
      [handler = std::move(handler)](const BuiltinFunction& called, const py::tuple& args,
                                     py::handle keywords) {
        const py::tuple all = py::make_tuple(called.original) + args;
        auto result = py::reinterpret_steal<py::object>(
            PyObject_Call(handler.ptr(), all.ptr(), keywords.ptr()));
        if (!result) {
          throw py::error_already_set();
        }
        return result;
      },
      &takes_turns);
}

void intercept(std::shared_ptr<RankTurns> turns) {
  turn_waits().intercept(turns != nullptr);
  set_noticed_turns(std::move(turns));
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
  module.def("own_directory", &own_directory);
  py::class_<RankTurns, std::shared_ptr<RankTurns>>(module, "RankTurns")
      .def(py::init([](std::int64_t world_size, bool is_random, std::uint64_t seed,
                       const std::string& noun) {
             return std::make_shared<RankTurns>(world_size, turn_options(is_random, seed, noun));
           }),
           py::arg("world_size"), py::kw_only(), py::arg("random") = false, py::arg("seed") = 0,
           py::arg("noun") = "rank")
      .def("stop", &stop, py::arg("reason"), NoGil())
      .def("num_events", &RankTurns::num_events, NoGil())
      .def("end_standstill", &RankTurns::end_standstill, py::arg("may_fail"), NoGil())
      .def("describe", &RankTurns::describe, py::arg("places"), NoGil())
      .def("num_threads", &RankTurns::num_threads, py::arg("rank"), NoGil())
      .def("leftovers", &RankTurns::leftovers, NoGil());

  py::class_<Mailbox, std::shared_ptr<Mailbox>>(module, "Mailbox")
      .def(py::init<>())
      .def("share", &share_mailbox);

  py::class_<ProcessState, std::shared_ptr<ProcessState>> state(module, "ProcessState");
  state.attr("PROCESS") = ProcessState::kProcess;
  state.def(py::init<py::object, py::dict>(), py::arg("own_modules"), py::arg("modules"))
      .def("add_value", &ProcessState::add_value, py::arg("owner"), py::arg("name"),
           py::arg("make") = py::none(), py::arg("on_change") = py::none())
      .def("add_entries", &ProcessState::add_entries, py::arg("container"))
      .def("add_switch", &ProcessState::add_switch, py::arg("set"), py::arg("first"))
      .def_property_readonly("present", &ProcessState::present)
      .def("take", &ProcessState::take, py::arg("rank"))
      .def("forget_ranks", &ProcessState::forget_ranks)
      .def("look_for_modules", &ProcessState::look_for_modules);

  py::class_<RankThread, std::shared_ptr<RankThread>>(module, "RankThread")
      .def(py::init(&rank_thread), py::arg("turns"), py::arg("rank"), py::arg("state") = nullptr)
      .def_static("forget_current", &RankThread::forget_current)
      .def_static("current", &current_thread)
      .def_property_readonly("rank", &RankThread::rank)
      .def_property_readonly("thread", &RankThread::thread)
      .def_property_readonly("takes_turns", &RankThread::takes_turns)
      .def("start_thread", &RankThread::start_thread)
      .def("end_threads", &RankThread::end_threads)
      .def("yield_turn", &RankThread::yield)
      .def("register_group", &RankThread::register_group, py::arg("name"), py::arg("group"))
      .def("abandon", &RankThread::abandon)
      .def("unregister_groups", &RankThread::unregister_groups)
      .def("unregister_group", &RankThread::unregister_group, py::arg("name"))
      .def("begin", &RankThread::begin)
      .def("end", &RankThread::end)
      .def("end_failed", &RankThread::end_failed, py::arg("failure"))
      .def("pause", &RankThread::pause)
      .def("resume", &RankThread::resume)
      .def("wait_for_exit", &RankThread::wait_for_exit, NoGil());

  module.def("add_builtin", &add_builtin_by_name, py::arg("function"), py::arg("handler"));
  module.def("add_builtin", &add_builtin_in_python, py::arg("function"), py::arg("handler"));
  module.def("intercept_builtins", &intercept, py::arg("turns"));
  module.def("watch_attribute_sets", &watch_attribute_sets, py::arg("on_set"));
  module.def("is_importing", &is_importing);
  module.def(
      "asked", [](py::ssize_t question) { asked(static_cast<std::size_t>(question)); },
      py::arg("question"));
  module.def("is_ready", &is_ready, py::arg("file"), py::arg("for_writing") = false);

  py::class_<RankEvent>(module, "RankEvent")
      .def(py::init([](std::shared_ptr<RankThread> thread, const std::string& event) {
             auto meeting = new_event(thread->rank(), event, source_line_text());
             return RankEvent{.thread = std::move(thread), .meeting = std::move(meeting)};
           }),
           py::arg("thread"), py::arg("event"))
      .def("set", [](const RankEvent& event) { event.thread->turns().finish(event.meeting); })
      .def("wait", [](const RankEvent& event) { event.thread->wait(event.meeting); });

  py::class_<RankStore, c10::intrusive_ptr<RankStore>, c10d::Store>(module, "RankStore")
      .def(py::init([](std::shared_ptr<RankTurns> turns) {
             return c10::make_intrusive<RankStore>(std::move(turns));
           }),
           py::arg("turns"));

  py::class_<ThreadsBackend, c10::intrusive_ptr<ThreadsBackend>, c10d::Backend>(module,
                                                                                "ThreadsBackend")
      .def(py::init([](std::shared_ptr<RankThread> rank, const std::string& name,
                       const std::vector<std::int64_t>& members) {
             return c10::make_intrusive<ThreadsBackend>(std::move(rank), name, members);
           }),
           py::arg("rank"), py::arg("name"), py::arg("members"));
}

}  // namespace polyrank
