#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/source_lines.h>
#include <polyrank/report/call_site.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/report/trace_json.h>
#include <polyrank/world/launch_mutation.h>
#include <polyrank/world/module_scope.h>
#include <polyrank/world/operator_watch.h>

#include <memory>
#include <string>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// Traces may overlap; operators are watched while there is one. Guarded by the GIL.
std::weak_ptr<OperatorWatch>& current_watch() {
  static auto* const watch = new std::weak_ptr<OperatorWatch>();
  return *watch;
}

class PythonTrace {
 public:
  explicit PythonTrace(bool with_source)
      : trace_(std::make_shared<CollectiveTrace>(TraceOptions{.with_source = with_source})) {}

  void start() {
    watch_ = current_watch().lock();
    if (watch_ == nullptr) {
      watch_ = std::make_shared<OperatorWatch>();
      current_watch() = watch_;
    }
    collective_record().start(trace_);
  }

  void stop() {
    collective_record().stop(trace_);
    watch_.reset();
    if (current_watch().expired()) {
      forget_code_objects();
      forget_module_nodes();
    }
  }

  const CollectiveTrace& trace() const { return *trace_; }

 private:
  std::shared_ptr<CollectiveTrace> trace_;
  std::shared_ptr<OperatorWatch> watch_;
};

// File, line, path of the module and whether it is backward: of what the calling thread runs.
py::tuple call_site() {
  const SourceLine line = python_source_line();
  const ModulePlace place = module_place();
  return py::make_tuple(std::string(line.file), line.line, std::string(place.path),
                        place.is_backward);
}

}  // namespace

void init_trace(py::module_& module) {
  call_site_finders().source_line = &python_source_line;
  call_site_finders().is_in_library = &is_in_torch;
  mutate_as_environment_says();
  py::class_<PythonTrace>(module, "CollectiveTrace")
      .def(py::init<bool>(), py::arg("with_source"))
      .def("start", &PythonTrace::start)
      .def("stop", &PythonTrace::stop)
      .def("__len__", [](const PythonTrace& trace) { return trace.trace().size(); })
      .def("to_json", [](const PythonTrace& trace) { return to_json(trace.trace()); })
      .def("to_chrome_trace",
           [](const PythonTrace& trace) { return to_chrome_trace(trace.trace()); });
  module.def("is_tracing", [] { return collective_record().is_tracing(); });
  module.def("enter_module", &enter_module, py::arg("path"));
  module.def("leave_module", &leave_module);
  module.def("call_site", &call_site);
  module.def("mutate_as_environment_says", &mutate_as_environment_says);
}

}  // namespace polyrank
