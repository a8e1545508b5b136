#include <ATen/core/stack.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/collective_op.h>
#include <polyrank/exchange/forwarded_work.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/operator_watch.h>
#include <polyrank/world/own_groups.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <utility>

namespace polyrank {

namespace {

using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;

// Backends whose Works have nothing beyond what c10d::Work has. Those in Python may have members
// that the program asks for.
bool gives_plain_works(const c10d::ProcessGroup& group) {
  using Type = c10d::ProcessGroup::BackendType;
  constexpr std::array kTypes = {Type::GLOO, Type::NCCL, Type::XCCL, Type::MPI, Type::UCC};
  return std::find(kTypes.begin(), kTypes.end(), group.getBackendType()) != kTypes.end();
}

// Lets the record know when the program waits for the Work that a launch gave.
void watch_wait(c10::IValue* returned, LaunchId launch) {
  if (const auto work = returned->toCustomClass<c10d::Work>()) {
    const auto watched = c10::make_intrusive<ForwardedWork>(work);
    watched->add_launch(launch);
    *returned = c10::intrusive_ptr<c10d::Work>(watched);
  }
}

LaunchId record_operator(const CollectiveSpec& spec, const ProcessGroup& group,
                         c10::ArrayRef<c10::IValue> arguments, c10::ArrayRef<c10::IValue> returned,
                         std::int64_t start_ns) {
  const OwnGroups::Membership own = own_groups().find(group);
  const std::vector<at::Tensor> results = tensors_among(returned);
  CollectiveLaunch launch;
  launch.kind = spec.kind;
  launch.group = own.group;
  launch.num_computed = 1;
  launch.cohorts = own.rank;
  launch.op_name = spec.op_name;
  launch.start_ns = start_ns;
  try {
    add_details(read_call(spec, arguments), results, &launch);
  } catch (const Error&) {
    // Arguments that our worlds refuse and this one took (sparse tensors): the launch counts, but
    // not what was read of them so far.
    launch.inputs.clear();
    launch.outputs.clear();
  }
  for (const TensorRun& run : launch.inputs) {
    launch.input_bytes += run.nbytes;
  }
  const LaunchId id = collective_record().launch(std::move(launch));
  if (spec.returns == Returns::kTensors) {
    expect_tensor_waits(results, id);
  }
  return id;
}

// Stands in front of one kernel of one operator.
class WatchingKernel final : public c10::OperatorKernel {
 public:
  WatchingKernel(const CollectiveSpec& spec, c10::SafeKernelFunction watched)
      : spec_(spec), watched_(std::move(watched)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    const auto on_top = torch::jit::last(*stack, op.schema().arguments().size());
    const std::vector<c10::IValue> arguments(on_top.begin(), on_top.end());
    if (spec_.kind == CollectiveKind::kWait) {
      for (const at::Tensor& tensor : tensors_among(arguments)) {
        note_tensor_wait(tensor);
      }
    }
    const std::uint64_t recorded = CollectiveRecord::launches_of_thread();
    const std::int64_t start_ns = trace_clock_ns();
    watched_.callBoxed(op, keys, stack);
    if (spec_.kind != CollectiveKind::kWait && recorded == CollectiveRecord::launches_of_thread() &&
        collective_record().is_tracing()) {
      record(arguments, torch::jit::last(*stack, op.schema().returns().size()), start_ns, stack);
    }
  }

 private:
  void record(const std::vector<c10::IValue>& arguments, c10::ArrayRef<c10::IValue> returned,
              std::int64_t start_ns, torch::jit::Stack* stack) {
    const ProcessGroup group = CollectiveOp::get_process_group(spec_.op_name, arguments);
    const LaunchId launch = record_operator(spec_, group, arguments, returned, start_ns);
    const bool gives_work =
        spec_.returns == Returns::kWork || spec_.returns == Returns::kTensorsAndWork;
    if (gives_work && is_asynchronous(spec_, arguments) && gives_plain_works(*group)) {
      watch_wait(&stack->back(), launch);
    }
  }

  const CollectiveSpec& spec_;
  c10::SafeKernelFunction watched_;
};

}  // namespace

OperatorWatch::OperatorWatch()
    : kernels_([](const CollectiveSpec& spec, c10::SafeKernelFunction watched) {
        return c10::KernelFunction::makeFromBoxedFunctor(
            std::make_unique<WatchingKernel>(spec, std::move(watched)));
      }) {}

OperatorWatch::~OperatorWatch() { own_groups().clear(); }

}  // namespace polyrank
