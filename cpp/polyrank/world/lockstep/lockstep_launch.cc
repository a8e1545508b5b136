#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/world/lockstep/lockstep_launch.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>

namespace polyrank {

namespace {

std::vector<RankOperand> operands(const std::vector<at::Tensor>& tensors, const RankSet& ranks) {
  std::vector<RankOperand> operands;
  operands.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    operands.emplace_back(tensor, ranks);
  }
  return operands;
}

std::vector<std::int64_t> on_rank(const std::vector<c10::SymInt>& numbers, std::int64_t rank) {
  std::vector<std::int64_t> values;
  values.reserve(numbers.size());
  for (const c10::SymInt& number : numbers) {
    values.push_back(number_on_rank(number, rank));
  }
  return values;
}

// Each member's sizes; none where the call gives none.
std::vector<std::vector<std::int64_t>> by_member(const std::vector<c10::SymInt>& sizes,
                                                 std::span<const std::int64_t> members) {
  std::vector<std::vector<std::int64_t>> all;
  if (sizes.empty()) {
    return all;
  }
  all.reserve(members.size());
  for (const std::int64_t rank : members) {
    all.push_back(on_rank(sizes, rank));
  }
  return all;
}

// Tensors without values differ by shape alone.
void merge_without_values(RankResults* results) {
  const at::Tensor& first = results->tensors.front();
  const bool same_shape =
      std::all_of(results->tensors.begin(), results->tensors.end(),
                  [&](const at::Tensor& tensor) { return tensor.sizes() == first.sizes(); });
  if (!holds_values(first) && same_shape) {
    results->partition = RankPartition::uniform(results->partition.ranks());
    results->tensors.resize(1);
  }
}

MemberTensors held_by(std::span<const std::int64_t> members, const RankOperand& input) {
  MemberTensors tensors;
  if (input.partition().num_cohorts() == 1) {
    tensors.append(input.on_rank(members.front()), members.size());
    return tensors;
  }
  for (const std::int64_t rank : members) {
    tensors.append(input.on_rank(rank));
  }
  return tensors;
}

// The members' tensors times the factor of each, as PREMUL_SUM sums them.
void scale(const RankOperand& factor, MemberInputs* inputs) {
  for (MemberTensors& tensors : inputs->tensors) {
    std::map<std::pair<const c10::TensorImpl*, const c10::TensorImpl*>, at::Tensor> known;
    MemberTensors all_scaled;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const at::Tensor& tensor = tensors[i];
      const at::Tensor& of_member = factor.on_rank(inputs->members[i]);
      at::Tensor& scaled = known[{tensor.unsafeGetTensorImpl(), of_member.unsafeGetTensorImpl()}];
      if (!scaled.defined()) {
        scaled = at::mul(tensor, of_member.reshape({}).to(tensor.scalar_type()));
      }
      all_scaled.append(scaled);  // equal members share it
    }
    tensors = std::move(all_scaled);
  }
}

// Whether writing one output may change what another one is to hold.
bool overwrites_results(const CollectiveUnit& unit, const std::vector<RankResults>& results) {
  return results.size() > 1 && !results.front().are_new &&
         std::any_of(unit.outputs.begin(), unit.outputs.end(), [&](const at::Tensor& output) {
           return std::any_of(unit.inputs.begin(), unit.inputs.end(), [&](const at::Tensor& input) {
             return output.has_storage() && input.has_storage() &&
                    output.storage().unsafeGetStorageImpl() ==
                        input.storage().unsafeGetStorageImpl();
           });
         });
}

void copy_results(std::vector<RankResults>* results) {
  for (RankResults& output : *results) {
    output.are_new = true;
    for (at::Tensor& tensor : output.tensors) {
      tensor = tensor.clone(at::MemoryFormat::Contiguous);
    }
  }
}

OutputKind output_kind(CollectiveKind kind) {
  if (gives_members_the_same(kind)) {
    return OutputKind::kSharedByGroup;
  }
  return gives_the_root_alone(kind) ? OutputKind::kRootOnly : OutputKind::kOwnPerMember;
}

// Whether ranks whose group doesn't run can keep their input as the result.
bool keeps_shape(const CollectiveSpec& spec) {
  return spec.kind == CollectiveKind::kAllReduce || spec.kind == CollectiveKind::kBroadcast;
}

}  // namespace

LockstepLaunch::LockstepLaunch(const CollectiveCall& call,
                               const std::shared_ptr<const Group>& group)
    : call_(call), group_(*group), ranks_(ranks_of_launch(call.tensors())) {
  record_.kind = call.spec->kind;
  record_.group = group;
  record_.cohorts = RankPartition::uniform(ranks_);
  if (call.units.empty()) {  // a barrier: no tensors, and so nothing to compute
    note(plan_groups(record_.cohorts), record_.cohorts, {});
    record_.num_computed = 0;
  }
}

LockstepLaunch::Plan LockstepLaunch::plan_groups(const RankPartition& cohorts) const {
  const OutputKind outputs = output_kind(call_.spec->kind);
  const std::int64_t receiver = outputs == OutputKind::kRootOnly ? call_.root : 0;
  Plan plan;
  plan.regrouping = regroup(cohorts, group_.family(), outputs, static_cast<std::int32_t>(receiver));
  const Regrouping& regrouping = *plan.regrouping;
  plan.group_of_tuple.resize(regrouping.input_cohorts.size());
  plan.receivers = ranks_;
  for (std::int32_t cohort = 0; cohort < regrouping.result.num_cohorts(); ++cohort) {
    const Regrouping::Source& source = regrouping.sources[static_cast<std::size_t>(cohort)];
    if (source.tuple < 0) {
      plan.receivers = plan.receivers.subtract(regrouping.result.cohort(cohort));
    } else {
      plan.group_of_tuple[static_cast<std::size_t>(source.tuple)] =
          group_.family().group_of(regrouping.result.lowest_rank(cohort));
    }
  }
  return plan;
}

RankPartition LockstepLaunch::cohorts_of_inputs(const std::vector<RankOperand>& inputs) const {
  RankPartition cohorts = RankPartition::uniform(ranks_);
  for (const RankOperand& input : inputs) {
    cohorts = meet(cohorts, input.partition());
  }
  if (call_.premul_factor.defined()) {
    cohorts = meet(cohorts, RankOperand(call_.premul_factor, ranks_).partition());
  }
  for (const auto* sizes : {&call_.input_split_sizes, &call_.output_split_sizes}) {
    for (const c10::SymInt& size : *sizes) {
      if (const LocalIntNode* node = as_local_int(size)) {
        cohorts = meet(cohorts, node->partition());
      }
    }
  }
  return cohorts;
}

MemberInputs LockstepLaunch::inputs_of_group(std::int64_t group,
                                             const std::vector<RankOperand>& inputs) const {
  const auto members = group_.family().members(group);
  MemberInputs member_inputs;
  member_inputs.group_label = group_.label();
  member_inputs.members = members;
  for (const RankOperand& input : inputs) {
    member_inputs.tensors.push_back(held_by(members, input));
  }
  if (call_.premul_factor.defined()) {
    scale(RankOperand(call_.premul_factor, ranks_), &member_inputs);
  }
  member_inputs.input_split_sizes = by_member(call_.input_split_sizes, members);
  member_inputs.output_split_sizes = by_member(call_.output_split_sizes, members);
  return member_inputs;
}

// From results by tuple and member to results by rank.
std::vector<RankResults> LockstepLaunch::spread(const Plan& plan,
                                                const std::vector<MemberOutputs>& by_tuple) const {
  const Regrouping& regrouping = *plan.regrouping;
  const RankPartition partition =
      plan.receivers == ranks_ ? regrouping.result : regrouping.result.restrict_to(plan.receivers);
  std::vector<RankResults> results(by_tuple.front().tensors.size());
  for (std::size_t output = 0; output < results.size(); ++output) {
    results[output].partition = partition;
    results[output].are_new = by_tuple.front().are_new;
    for (const Regrouping::Source& source : regrouping.sources) {
      if (source.tuple >= 0) {  // restriction keeps the order of the cohorts
        results[output].tensors.push_back(
            by_tuple[static_cast<std::size_t>(source.tuple)]
                .tensors[output][static_cast<std::size_t>(source.position)]);
      }
    }
  }
  return results;
}

void LockstepLaunch::check_fits(const RankOperand& output, const RankResults& results) const {
  for (const std::int64_t rank : lowest_ranks(results.partition, output.partition())) {
    const at::Tensor& target = output.on_rank(rank);
    const at::Tensor& result = results.on_rank(rank);
    if (target.numel() != result.numel() || target.dtype() != result.dtype()) {
      throw CollectiveError(str_cat("group \"", group_.label(), "\": ", to_string(call_.spec->kind),
                                    " gives rank ", rank, " ", describe_tensor(result),
                                    ", but the tensor to hold it is ", describe_tensor(target),
                                    ". Allocate the output with that size and dtype."));
    }
  }
}

void LockstepLaunch::keep_results(const RankOperand& input, RankResults results) {
  if (keeps_shape(*call_.spec)) {
    results = with_kept_ranks(results, input, ranks_);
  }
  if (results.tensors.empty()) {
    throw CollectiveError(str_cat("group \"", group_.label(),
                                  "\": none of its family's groups lies "
                                  "within the tensors' ranks ",
                                  ranks_.to_string(), ", so that no rank has a result."));
  }
  if (!results.are_new) {
    for (at::Tensor& tensor : results.tensors) {
      tensor = tensor.clone(at::MemoryFormat::Contiguous);
    }
  }
  merge_without_values(&results);
  results_.push_back(std::move(results));
}

void LockstepLaunch::run(const CollectiveUnit& unit) {
  const std::vector<RankOperand> inputs = operands(unit.inputs, ranks_);
  const std::vector<RankOperand> outputs = operands(unit.outputs, ranks_);
  const RankPartition cohorts = cohorts_of_inputs(inputs);
  const Plan plan = plan_groups(cohorts);
  note(plan, cohorts, inputs);

  std::vector<MemberOutputs> by_tuple;
  by_tuple.reserve(plan.group_of_tuple.size());
  for (const std::int64_t group : plan.group_of_tuple) {
    MemberInputs members = inputs_of_group(group, inputs);
    members.count_others(call_, unit, [&](const at::Tensor& tensor) {
      return RankOperand(tensor, ranks_).on_rank(members.members.front()).numel();
    });
    by_tuple.push_back(exchange(call_, members));
  }
  std::vector<RankResults> results;
  if (!by_tuple.empty()) {
    results = spread(plan, by_tuple);
  }
  if (call_.spec->destination == Destination::kResults) {
    keep_results(inputs.front(), results.empty() ? RankResults{} : std::move(results.front()));
    return;
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    check_fits(outputs[i], results[i]);
  }
  if (overwrites_results(unit, results)) {
    copy_results(&results);
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    outputs[i].write(results[i]);
  }
}

void LockstepLaunch::note(const Plan& plan, const RankPartition& cohorts,
                          const std::vector<RankOperand>& inputs) {
  const std::int64_t receivers_per_group =
      gives_the_root_alone(record_.kind) ? 1 : group_.family().group_size();
  record_.num_groups = plan.receivers.size() / receivers_per_group;
  record_.cohorts = meet(record_.cohorts, cohorts);
  record_.num_computed += static_cast<std::int64_t>(plan.group_of_tuple.size());
  for (const RankOperand& input : inputs) {
    record_.input_bytes += input.largest_nbytes();
  }
}

std::vector<at::Tensor> LockstepLaunch::take_results() {
  std::vector<at::Tensor> tensors;
  tensors.reserve(results_.size());
  for (RankResults& results : results_) {
    tensors.push_back(make_local_tensor(results.partition, std::move(results.tensors)));
  }
  results_.clear();
  return tensors;
}

}  // namespace polyrank
