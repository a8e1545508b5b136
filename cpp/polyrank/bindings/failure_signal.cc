#include <polyrank/bindings/failure_signal.h>
#include <pybind11/pybind11.h>

#include <csignal>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// A process is a rank of one run. A handler of a signal is given nothing else to find it by.
std::shared_ptr<RankProcess>& own_process() {
  static std::shared_ptr<RankProcess> process;
  return process;
}

// Requires: the main thread, with the interpreter's lock
// Returns: -1 with Python's error set, or 0 where the run has not failed
int raise_failure(void* /*unused*/) {
  try {
    py::cast(own_process()).attr("raise_failure")();
    return 0;
  } catch (py::error_already_set& error) {
    error.restore();
    return -1;
  }
}

// What waits for a lock is interrupted, as by any signal, and makes Python's pending calls then.
void on_signal(int /*signal*/) { Py_AddPendingCall(&raise_failure, nullptr); }

}  // namespace

void raise_failure_on(int signal, std::shared_ptr<RankProcess> process) {
  own_process() = std::move(process);
  struct sigaction action = {};
  action.sa_handler = &on_signal;
  sigaction(signal, &action, nullptr);
}

}  // namespace polyrank
