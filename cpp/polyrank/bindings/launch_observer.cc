#include <ATen/core/stack.h>
#include <polyrank/bindings/bindings.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/world/kernels_in_front.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

// A Python function; given away under the interpreter's lock.
class Function {
 public:
  explicit Function(py::object function) : function_(std::move(function)) {}
  ~Function() {
    const py::gil_scoped_acquire lock;
    function_ = py::object();
  }
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  void call(const CollectiveSpec& spec, const std::vector<at::Tensor>& tensors) const {
    const py::gil_scoped_acquire lock;
    function_(std::string(spec.op_name), tensors);
  }

 private:
  py::object function_;
};

void add_tensors(const c10::IValue& value, std::vector<at::Tensor>* tensors) {
  if (value.isTensor()) {
    tensors->push_back(value.toTensor());
  } else if (value.isList()) {
    for (const c10::IValue& entry : value.toListRef()) {
      add_tensors(entry, tensors);
    }
  }
}

// Whether the calling thread is within a launch: what that launches is part of it.
bool& is_inside() {
  thread_local bool inside = false;
  return inside;
}

class InsideGuard {
 public:
  InsideGuard() { is_inside() = true; }
  ~InsideGuard() { is_inside() = false; }
  InsideGuard(const InsideGuard&) = delete;
  InsideGuard& operator=(const InsideGuard&) = delete;
};

class ObservedKernel final : public c10::OperatorKernel {
 public:
  ObservedKernel(const CollectiveSpec& spec, c10::SafeKernelFunction behind,
                 std::shared_ptr<Function> function)
      : spec_(spec), behind_(std::move(behind)), function_(std::move(function)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    if (is_inside() || spec_.kind == CollectiveKind::kWait) {
      behind_.callBoxed(op, keys, stack);
      return;
    }
    const InsideGuard inside;
    std::vector<at::Tensor> tensors;
    for (const c10::IValue& argument : torch::jit::last(*stack, op.schema().arguments().size())) {
      add_tensors(argument, &tensors);
    }
    function_->call(spec_, tensors);
    behind_.callBoxed(op, keys, stack);
  }

 private:
  const CollectiveSpec& spec_;
  c10::SafeKernelFunction behind_;
  std::shared_ptr<Function> function_;
};

// While it observes, the function is told of each collective before it runs, on the launching
// thread.
class LaunchObserver {
 public:
  explicit LaunchObserver(py::object function) {
    cover_operators();  // lockstep's kernels are there before ours, which stand in front of them
    kernels_.emplace([function = std::make_shared<Function>(std::move(function))](
                         const CollectiveSpec& spec, c10::SafeKernelFunction behind) {
      return c10::KernelFunction::makeFromBoxedFunctor(
          std::make_unique<ObservedKernel>(spec, std::move(behind), function));
    });
  }

  void stop() { kernels_.reset(); }

 private:
  std::optional<KernelsInFront> kernels_;
};

}  // namespace

void init_launch_observer(py::module_& module) {
  py::class_<LaunchObserver>(module, "LaunchObserver",
                             "Tells `function(operator, tensors)` of collectives before they run.")
      .def(py::init<py::object>(), py::arg("function"))
      .def("stop", &LaunchObserver::stop);
}

}  // namespace polyrank
