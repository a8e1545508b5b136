// From what each cohort's call returned to what the operator returns.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/operands.h>

#include <string>
#include <vector>

namespace polyrank {

// Combines the results of one call. Tensors become LocalTensors: one that aliases an operand's
// storage joins that storage (storages are compared, schemas are not trusted); equal ints stay
// ints and differing ones become LocalIntNodes; anything else must agree.
class ResultCombiner {
 public:
  // `partition` is the call's: values are given one per cohort of it.
  ResultCombiner(const c10::OperatorHandle& op, const OperatorInfo& info, const Operands& operands,
                 RankPartition partition);

  // Throws: DivergenceError if ranks disagree where they must not, naming op, ranks and values.
  c10::IValue combine(c10::ArrayRef<c10::IValue> values);

  // Where `tensors` lie: the storage that all of them alias, or a new one over theirs.
  // Where only some alias, those ranks are split off for good; then partition and tensors change.
  struct Placement {
    c10::intrusive_ptr<LocalStorage> storage;
    RankPartition partition;
    std::vector<at::Tensor> tensors;
  };
  Placement place(std::vector<at::Tensor> tensors);

 private:
  c10::IValue combine_lists(c10::ArrayRef<c10::IValue> values);
  c10::IValue combine_ints(c10::ArrayRef<c10::IValue> values) const;
  at::Tensor combine_tensors(c10::ArrayRef<c10::IValue> values);
  at::Tensor operand_returned(const std::vector<at::Tensor>& tensors) const;
  LocalStorage* source_of(const at::Tensor& tensor, std::int64_t rank) const;
  const at::Tensor* plain_source(const std::vector<at::Tensor>& tensors) const;
  Placement place_whole(std::vector<at::Tensor> tensors) const;
  // Whether the call took sparse tensors and the results have memory of theirs.
  bool shares_memory_of_whole(const std::vector<at::Tensor>& tensors) const;
  Placement place_mixed(c10::ArrayRef<LocalStorage*> sources, std::vector<at::Tensor> tensors);
  [[noreturn]] void throw_differing(c10::ArrayRef<c10::IValue> values) const;

  const c10::OperatorHandle& op_;
  const OperatorInfo& info_;
  const Operands& operands_;
  RankPartition partition_;
  // Storages of earlier results of the same call, which later ones may alias.
  c10::SmallVector<c10::intrusive_ptr<LocalStorage>, 2> fresh_;
};

}  // namespace polyrank
