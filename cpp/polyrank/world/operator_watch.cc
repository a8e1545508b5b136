#include <ATen/core/stack.h>
#include <c10/core/DispatchKey.h>
#include <c10/util/Exception.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/collective_op.h>
#include <polyrank/exchange/forwarded_work.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/global_ranks.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/operator_watch.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <utility>

namespace polyrank {

namespace {

using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;

// Where collectives have kernels. Others are reached through these.
constexpr std::array kKeys = {c10::DispatchKey::Python,     c10::DispatchKey::Meta,
                              c10::DispatchKey::CPU,        c10::DispatchKey::CUDA,
                              c10::DispatchKey::HPU,        c10::DispatchKey::XPU,
                              c10::DispatchKey::PrivateUse1};

// A group as a launch of one of its ranks names it.
struct OwnGroup {
  c10::weak_intrusive_ptr<c10d::ProcessGroup> process_group;
  std::shared_ptr<const LaunchGroup> group;
  RankPartition rank;  // the one that launches
};

OwnGroup describe(const ProcessGroup& process_group) {
  const std::string& name = process_group->getGroupName();
  const auto* const knows_members = dynamic_cast<const GlobalRanks*>(process_group.get());
  const std::vector<std::int64_t> members = knows_members == nullptr
                                                ? members_of_group(name, process_group->getSize())
                                                : knows_members->global_ranks();
  const RankRuns ranks = RankRuns::of(members);
  const std::optional<std::string> given = given_label(process_group->getGroupDesc());
  const std::string label = given ? *given : str_cat("ranks ", ranks.to_string());
  const std::int64_t rank = members[static_cast<std::size_t>(process_group->getRank())];
  return {c10::weak_intrusive_ptr<c10d::ProcessGroup>(process_group),
          std::make_shared<LaunchGroup>(LaunchGroup{
              .name = name, .label = label, .size = process_group->getSize(), .ranks = ranks}),
          RankPartition::uniform(RankSet::range(rank, rank + 1))};
}

// Describing a group takes time that grows with it, so it is done once a group.
class OwnGroups {
 public:
  OwnGroup find(const ProcessGroup& process_group) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = groups_.find(process_group.get());
      if (found != groups_.end() && !found->second.process_group.expired()) {
        return found->second;
      }
    }
    OwnGroup described = describe(process_group);  // unlocked: may wait for the interpreter
    const std::lock_guard lock(mutex_);
    return groups_.insert_or_assign(process_group.get(), std::move(described)).first->second;
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    groups_.clear();
  }

 private:
  std::mutex mutex_;
  std::map<const c10d::ProcessGroup*, OwnGroup> groups_;
};

OwnGroups& own_groups() {
  static auto* const groups = new OwnGroups();  // process groups may outlive static objects
  return *groups;
}

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
  const OwnGroup own = own_groups().find(group);
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

// The dispatcher warns of each kernel that takes another's place; ours are gone with the trace.
class NoWarnings final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& /*warning*/) override {}
};

}  // namespace

OperatorWatch::OperatorWatch() {
  NoWarnings no_warnings;
  const c10::WarningUtils::WarningHandlerGuard guard(&no_warnings);
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  for (const CollectiveSpec& spec : collective_table()) {
    const auto op = dispatcher.findSchema({std::string(spec.op_name), ""});
    if (!op || spec.kind == CollectiveKind::kNotACollective) {
      continue;
    }
    for (const c10::DispatchKey key : kKeys) {
      // Below Python, kernels for all backends count as each one's.
      if (key == c10::DispatchKey::Python ? op->hasKernelForDispatchKey(key)
                                          : op->hasComputedKernelForDispatchKey(key)) {
        auto kernel =
            std::make_unique<WatchingKernel>(spec, op->getComputedKernelForDispatchKey(key));
        kernels_.push_back(dispatcher.registerImpl(
            op->operator_name(), key, c10::KernelFunction::makeFromBoxedFunctor(std::move(kernel)),
            std::nullopt, nullptr, "polyrank"));
      }
    }
  }
}

OperatorWatch::~OperatorWatch() {
  while (!kernels_.empty()) {
    kernels_.pop_back();
  }
  own_groups().clear();
}

}  // namespace polyrank
