// One launch of a collective by all groups of a family, on LocalTensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/exchange/rank_operand.h>
#include <polyrank/group/regroup.h>
#include <polyrank/report/collective_launch.h>
#include <polyrank/world/group_families.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace polyrank {

// See NOTE [How a collective runs in lockstep].
// Invariant: `call` and `group` outlive this object.
class LockstepLaunch {
 public:
  LockstepLaunch(const CollectiveCall& call, const std::shared_ptr<const Group>& group);

  // Runs one collective of the launch: writes its outputs, or keeps its results.
  // Requires: dispatch keys above the cohorts' operators are excluded
  // Throws: CollectiveError, DivergenceError.
  void run(const CollectiveUnit& unit);

  // What to tell the record, beside the details that the call itself tells.
  const CollectiveLaunch& record() const noexcept { return record_; }

  // The results of functional collectives, as LocalTensors, in the order of the run() calls.
  // Requires: dispatch keys are not excluded any more
  std::vector<at::Tensor> take_results();

 private:
  // What runs: the groups of the family by tuple of cohorts.
  struct Plan {
    std::shared_ptr<const Regrouping> regrouping;
    std::vector<std::int64_t> group_of_tuple;  // one that has the tuple
    RankSet receivers;                         // ranks that get something
  };

  Plan plan_groups(const RankPartition& cohorts) const;
  RankPartition cohorts_of_inputs(const std::vector<RankOperand>& inputs) const;
  MemberInputs inputs_of_group(std::int64_t group, const std::vector<RankOperand>& inputs) const;
  std::vector<RankResults> spread(const Plan& plan,
                                  const std::vector<MemberOutputs>& by_tuple) const;
  void check_fits(const RankOperand& output, const RankResults& results) const;
  void keep_results(const RankOperand& input, RankResults results);
  void note(const Plan& plan, const RankPartition& cohorts, const std::vector<RankOperand>& inputs);

  const CollectiveCall& call_;
  const Group& group_;
  RankSet ranks_;
  CollectiveLaunch record_;
  std::vector<RankResults> results_;
};

}  // namespace polyrank
