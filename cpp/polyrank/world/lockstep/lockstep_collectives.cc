#include <ATen/Functions.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/operator_info.h>
#include <polyrank/engine/run_operator.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/collective_work.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/exchange/rank_operand.h>
#include <polyrank/exchange/returned_values.h>
#include <polyrank/exchange/written_versions.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/lockstep/lockstep_checks.h>
#include <polyrank/world/lockstep/lockstep_collectives.h>
#include <polyrank/world/lockstep/lockstep_launch.h>
#include <polyrank/world/lockstep/point_to_point.h>

#include <array>
#include <optional>
#include <utility>

namespace polyrank {

namespace {

constexpr std::array<const char*, 5> kNamespaces = {
    "c10d::", "_c10d_functional::", "_c10d_functional_autograd::", "_dtensor::", "symm_mem::"};

[[noreturn]] void throw_unsupported(const c10::OperatorHandle& op) {
  const CollectiveSpec* spec = find_collective(op.operator_name().name);
  if (spec != nullptr && spec->kind == CollectiveKind::kReceive) {
    throw UnsupportedOpError(
        "receiving from any source does not run in lockstep, where no rank is faster than another. "
        "Name the source, which may differ between ranks: `dist.recv(x, (rank - 1) % n)`.");
  }
  throw UnsupportedOpError(
      str_cat(c10::toString(op.operator_name()),
              " does not run in lockstep. docs/collectives.md lists the collectives that do, and "
              "what to use instead of the others."));
}

[[noreturn]] void refuse(const c10::OperatorHandle& op, torch::jit::Stack* /*stack*/) {
  throw_unsupported(op);
}

void check_group(const CollectiveCall& call, const Group& group) {
  const std::int64_t size = group.family().group_size();
  if (call.stated_group_size >= 0 && call.stated_group_size != size) {
    throw CollectiveError(str_cat("group \"", group.label(), "\": ", call.spec->op_name,
                                  " was told that it has ", call.stated_group_size,
                                  " ranks, but it has ", size, ". Pass the group's own size."));
  }
}

// Whether cohorts' tensors dispatch to Python themselves (FakeTensors).
bool has_python_cohorts(const CollectiveCall& call) {
  for (const CollectiveUnit& unit : call.units) {
    for (const auto* tensors : {&unit.inputs, &unit.outputs}) {
      for (const at::Tensor& tensor : *tensors) {
        const LocalTensorImpl* impl = LocalTensorImpl::from(tensor);
        if (impl != nullptr && impl->has_python_cohorts()) {
          return true;
        }
      }
    }
  }
  return false;
}

// What running a launch gave.
struct Launched {
  std::vector<at::Tensor> results;        // of functional operators
  c10::intrusive_ptr<RecordedWork> work;  // to wait with
};

// Tells the record, and the work or the results which launch they are of.
void record(const CollectiveCall& call, CollectiveLaunch launch, const Launched& launched) {
  CollectiveRecord& record = collective_record();
  if (record.is_tracing()) {
    add_details(call, launched.results, &launch);
  }
  const LaunchId id = record.launch(std::move(launch));
  if (call.spec->returns == Returns::kTensors) {
    expect_tensor_waits(
        call.spec->destination == Destination::kResults ? launched.results : call.written(), id);
  } else if (call.is_async) {
    launched.work->add_launch(id);
  }
}

std::int64_t start_ns() { return collective_record().is_tracing() ? trace_clock_ns() : 0; }

// Runs all collectives of a launch.
Launched launch(const CollectiveCall& call, const std::shared_ptr<const Group>& group) {
  const std::int64_t start = start_ns();
  LockstepLaunch lockstep(call, group);
  {
    const BelowLockstepGuard below(has_python_cohorts(call));
    const CohortKeysGuard keys(below.runs_python());
    for (const CollectiveUnit& unit : call.units) {
      lockstep.run(unit);
    }
  }
  count_written_versions(call);
  Launched launched{lockstep.take_results(), CompletedWork::make(call.written())};
  CollectiveLaunch launch = lockstep.record();
  launch.start_ns = start;
  record(call, std::move(launch), launched);
  return launched;
}

// Sends and receives of one launch: the sends first, so that a batch finds its own messages.
Launched exchange_messages(const CollectiveCall& call, const std::shared_ptr<const Group>& group) {
  Launched launched{{}, CompletedWork::make(call.tensors())};
  CollectiveLaunch launch{.kind = call.spec->kind,
                          .group = group,
                          .num_groups = group->family().num_groups(),
                          .cohorts = RankPartition::uniform(ranks_of_launch(call.tensors())),
                          .start_ns = start_ns()};
  const BelowLockstepGuard below(has_python_cohorts(call));
  const CohortKeysGuard keys(below.runs_python());
  for (const bool sends : {true, false}) {
    for (std::size_t unit = 0; unit < call.units.size(); ++unit) {
      if (call.is_send[unit] != sends) {
        continue;
      }
      const PointToPoint message = read_point_to_point(call, unit, *group);
      launch.input_bytes +=
          RankOperand(message.tensor, ranks_of_launch({message.tensor})).largest_nbytes();
      if (sends) {
        mailbox().send(message);
      } else {
        launched.work = mailbox().receive(message);
      }
      if (!sends && call.spec->returns == Returns::kTensors) {
        launched.work->wait();  // a functional result is complete: there is no Work to wait with
      }
    }
  }
  record(call, std::move(launch), launched);
  return launched;
}

bool is_point_to_point(CollectiveKind kind) {
  return kind == CollectiveKind::kSend || kind == CollectiveKind::kReceive ||
         kind == CollectiveKind::kSendReceive;
}

// `_wrap_tensor_autograd` puts a result into an AsyncCollectiveTensor, which waits when it is used.
// In lockstep results are complete: the argument is the result.
void keep_argument(const c10::OperatorHandle&, torch::jit::Stack*) {}

// Makes the engine hand over the operators of the table, and refuse what its namespaces gain.
bool register_handlers() {
  for (const char* name : kNamespaces) {
    register_operator_handler(name, &refuse);
  }
  for (const CollectiveSpec& spec : collective_table()) {
    const bool is_collective = spec.kind != CollectiveKind::kNotACollective;
    register_operator_handler(std::string(spec.op_name),
                              is_collective ? &run_lockstep_collective : nullptr);
  }
  register_operator_handler("_c10d_functional::_wrap_tensor_autograd", &keep_argument);
  return true;
}

[[maybe_unused]] const bool is_registered = register_handlers();  // no operator has run yet

}  // namespace

void run_lockstep_collective(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const CollectiveSpec* spec = find_collective(op.operator_name().name);
  if (spec == nullptr || !spec->lockstep) {
    throw_unsupported(op);
  }
  const std::size_t num_arguments = op.schema().arguments().size();
  const auto arguments = torch::jit::last(*stack, num_arguments);
  const CollectiveCall call = read_call(*spec, arguments);
  Launched launched;
  if (spec->kind == CollectiveKind::kWait) {  // all launches are complete when they return
    for (const at::Tensor& tensor : call.tensors()) {
      note_tensor_wait(tensor);
    }
  } else {
    const std::int64_t num_ranks = ranks_of_launch(call.tensors()).size();
    const auto group = resolve_group(call.group_name, call.process_group_size, num_ranks);
    check_group(call, *group);
    check_members(call, *group);
    launched = is_point_to_point(spec->kind) ? exchange_messages(call, group) : launch(call, group);
  }
  std::vector<c10::IValue> values =
      returned_values(*spec, arguments, std::move(launched.results), std::move(launched.work));
  torch::jit::drop(*stack, num_arguments);
  for (c10::IValue& value : values) {
    stack->push_back(std::move(value));
  }
}

}  // namespace polyrank
