#include <polyrank/core/rank_runs.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/exchange/collective_op.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/exchange/rank_operand.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/launch_site.h>
#include <polyrank/world/own_groups.h>

#include <algorithm>
#include <vector>

namespace polyrank {

namespace {

bool is_lockstep(const std::vector<at::Tensor>& tensors) {
  return std::ranges::any_of(
      tensors, [](const at::Tensor& tensor) { return LocalTensorImpl::from(tensor) != nullptr; });
}

void add_group(const Group& group, const RankSet& ranks, LaunchThere* launch) {
  launch->site.group = group.label();
  launch->group_size = group.size();
  launch->members = group.ranks().to_string();
  launch->ranks = ranks.to_string();
}

// In lockstep: all ranks launch at once.
void add_groups_of_all(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments,
                       const RankSet& ranks, LaunchThere* launch) {
  launch->ranks = ranks.to_string();
  if (spec.group != kAbsent) {
    const auto group = CollectiveOp::get_process_group(spec.op_name, arguments);
    const auto known = resolve_group(group->getGroupName(), group->getSize(), ranks.size());
    add_group(*known, ranks, launch);
  }
}

}  // namespace

LaunchThere launch_there(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments) {
  LaunchThere launch;
  launch.site.op_name = std::string(spec.op_name);
  if (const auto find_line = call_site_finders().source_line; find_line != nullptr) {
    const SourceLine line = find_line();
    launch.site.file = std::string(line.file);
    launch.site.line = line.line;
  }
  const std::vector<at::Tensor> tensors = tensors_among(arguments);
  if (is_lockstep(tensors)) {
    add_groups_of_all(spec, arguments, ranks_of_launch(tensors), &launch);
  } else if (spec.group != kAbsent) {
    const OwnGroups::Membership own =
        own_groups().find(CollectiveOp::get_process_group(spec.op_name, arguments));
    add_group(*own.group, own.rank.ranks(), &launch);
  }
  return launch;
}

}  // namespace polyrank
