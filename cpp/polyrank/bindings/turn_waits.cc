#include <poll.h>
#include <polyrank/bindings/turn_waits.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/rank_thread.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

using Clock = std::chrono::steady_clock;

std::shared_ptr<RankTurns>& noticed_turns() {
  static auto* const turns = new std::shared_ptr<RankTurns>();
  return *turns;
}

void notify(py::handle thing) {
  if (noticed_turns() != nullptr) {
    noticed_turns()->notify(thing.ptr());
  }
}

// An argument that may be given by its place or by its name.
py::object argument(const py::tuple& args, py::handle keywords, std::size_t place,
                    const char* name) {
  if (args.size() > place) {
    return args[place];
  }
  if (keywords.ptr() != nullptr && keywords.contains(name)) {
    return keywords[name];
  }
  return py::none();
}

// What a call's `blocking` and `timeout` say.
struct Patience {
  bool is_valid = true;  // else the call itself says what is wrong with it
  bool blocks = true;
  std::optional<Clock::time_point> until;
};

Patience patience_of(py::handle blocking, py::handle timeout) {
  constexpr double kLongest = 1e8;  // seconds: more than anyone waits
  Patience patience;
  if (!blocking.is_none()) {
    const int value = PyObject_IsTrue(blocking.ptr());
    if (value < 0) {
      throw py::error_already_set();
    }
    patience.blocks = value == 1;
  }
  if (!patience.blocks || timeout.is_none()) {
    return patience;
  }
  const double seconds = PyFloat_AsDouble(timeout.ptr());
  if (seconds == -1 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    patience.is_valid = false;
  } else if (seconds == 0) {
    patience.blocks = false;
  } else if (seconds > 0 && seconds < kLongest) {
    patience.until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(seconds));
  } else {
    patience.is_valid = seconds == -1;
  }
  return patience;
}

std::optional<std::chrono::milliseconds> time_left(const Patience& patience) {
  if (!patience.until) {
    return std::nullopt;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*patience.until - Clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

// Waits until `try_it` gives something, looking again at each notice of `thing`. Null if time was
// up first.
template <class Try>
py::object wait_for(py::handle thing, const char* event, const Patience& patience,
                    const Try& try_it) {
  RankThread& thread = *RankThread::current();
  const std::string where = source_line_text();
  for (;;) {
    // Who brings it about between the trial and the wait must find the notice.
    const auto notice = thread.turns().expect_notice(thread.thread(), thing.ptr(), event, where);
    if (py::object result = try_it()) {
      thread.turns().notify(thing.ptr());  // this one among them
      return result;
    }
    thread.await_notice(thing.ptr(), notice, time_left(patience));
    if (patience.until && Clock::now() >= *patience.until) {
      return try_it();
    }
  }
}

py::object acquire(const BuiltinFunction& lock, const py::tuple& args, py::handle keywords) {
  const py::object self = args[0];
  const auto try_it = [&]() -> py::object {
    const py::object is_held = lock.call(py::make_tuple(self, false), {});
    return is_held.is(py::bool_(true)) ? is_held : py::object();
  };
  if (args.size() == 1 && !keywords) {  // most often, and nobody holds it
    if (py::object held = try_it()) {
      return held;
    }
  }
  const Patience patience =
      patience_of(argument(args, keywords, 1, "blocking"), argument(args, keywords, 2, "timeout"));
  if (!patience.is_valid || !patience.blocks) {
    py::object is_held = lock.call(args, keywords);
    if (!is_held.is(py::bool_(true))) {
      asked(std::hash<const void*>()(self.ptr()));
    }
    return is_held;
  }
  py::object held = wait_for(self, "a lock", patience, try_it);
  return held ? held : py::bool_(false);
}

py::object release(const BuiltinFunction& lock, const py::tuple& args, py::handle keywords) {
  py::object result = lock.call(args, keywords);
  notify(args[0]);
  return result;
}

py::object get(const BuiltinFunction& queue, const py::tuple& args, py::handle keywords) {
  const py::object self = args[0];
  const py::object empty = py::module_::import("_queue").attr("Empty");
  const auto try_it = [&]() -> py::object {
    try {
      return queue.call(py::make_tuple(self, false), {});
    } catch (py::error_already_set& error) {
      if (!error.matches(empty)) {
        throw;
      }
      return {};
    }
  };
  const Patience patience =
      patience_of(argument(args, keywords, 1, "block"), argument(args, keywords, 2, "timeout"));
  if (!patience.is_valid) {
    return queue.call(args, keywords);
  }
  py::object item = patience.blocks ? wait_for(self, "a queue", patience, try_it) : try_it();
  if (!item) {
    asked(std::hash<const void*>()(self.ptr()));
    PyErr_SetNone(empty.ptr());
    throw py::error_already_set();
  }
  return item;
}

// What gives up at once where there is nothing to take.
py::object take(const BuiltinFunction& queue, const py::tuple& args, py::handle keywords) {
  try {
    return queue.call(args, keywords);
  } catch (py::error_already_set&) {
    asked(std::hash<const void*>()(py::object(args[0]).ptr()));
    throw;
  }
}

py::object poll(const BuiltinFunction& function, const py::tuple& args, py::handle keywords) {
  constexpr int kPatience = 1000;
  std::size_t question = function.slot + 1;
  const Py_hash_t hash = PyObject_Hash(args.ptr());
  if (hash == -1) {
    PyErr_Clear();
  }
  question = question * 1'000'003 + static_cast<std::size_t>(hash);
  try {
    py::object answer = function.call(args, keywords);
    asked(question, answer.is(py::bool_(false)) ? 2 : kPatience);
    return answer;
  } catch (py::error_already_set&) {
    asked(question);
    throw;
  }
}

}  // namespace

bool is_importing() {
  PyFrameObject* frame = PyThreadState_GetFrame(PyThreadState_Get());
  bool found = false;
  while (frame != nullptr && !found) {
    const auto held = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(frame));
    const auto code =
        py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetCode(frame)));
    PyObject* const file = reinterpret_cast<PyCodeObject*>(code.ptr())->co_filename;
    found = PyUnicode_CompareWithASCIIString(file, "<frozen importlib._bootstrap>") == 0;
    frame = found ? nullptr : PyFrame_GetBack(frame);
  }
  return found;
}

void asked(std::size_t question, int patience) {
  RankThread& thread = *RankThread::current();
  if (thread.is_asking_again(question, patience) && !is_importing()) {
    thread.yield();
  }
}

void set_noticed_turns(std::shared_ptr<RankTurns> turns) { noticed_turns() = std::move(turns); }

BuiltinHandler turn_wait_handler(const std::string& name) {
  const std::pair<const char*, BuiltinHandler> handlers[] = {
      {"acquire", &acquire}, {"release", &release}, {"get", &get},
      {"take", &take},       {"put", &release},     {"poll", &poll}};
  for (const auto& [known, handler] : handlers) {
    if (name == known) {
      return handler;
    }
  }
  throw UsageError(str_cat("\"", name, "\" is no way to wait"));
}

bool is_ready(int file, bool for_writing) noexcept {
  pollfd waited{
      .fd = file, .events = static_cast<short>(for_writing ? POLLOUT : POLLIN), .revents = 0};
  return ::poll(&waited, 1, 0) != 0;  // an error is for the call itself to tell
}

}  // namespace polyrank
