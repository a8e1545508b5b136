// The arguments of one operator call, seen by cohort.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>
#include <c10/core/Scalar.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>
#include <polyrank/core/cohort_projection.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/operator_info.h>

#include <optional>
#include <vector>

namespace polyrank {

// What stands among an operator's arguments, as far as the kernel must know to decide who runs it.
struct OperandScan {
  bool has_local = false;    // a LocalTensor, or a number that differs between ranks
  bool has_plain = false;    // a plain tensor
  bool has_fake = false;     // a plain tensor that is a FakeTensor
  bool has_foreign = false;  // a tensor that handles operators itself
};
OperandScan scan_operands(c10::ArrayRef<c10::IValue> arguments);

// A LocalTensor among the arguments.
struct LocalOperand {
  LocalTensorImpl* impl;
  bool is_written;
  // Its old values are not read and its storage holds nothing else, so the operator may make ranks
  // equal that were not.
  bool may_merge;
};

// The arguments of one call. Made in two steps, because written storages are split in between: the
// constructor finds what differs between ranks, and bind() fixes the cohorts.
//
// Invariant: the arguments outlive this object and are not changed by it.
class Operands {
 public:
  // Throws: UsageError if the operands live on different ranks.
  Operands(const OperatorInfo& info, c10::ArrayRef<c10::IValue> arguments);

  // Ranks of the LocalTensors and numbers; null if there are none.
  const RankSet* ranks() const noexcept { return ranks_; }

  // LocalTensors in the order of the arguments, once per place where one stands.
  c10::ArrayRef<LocalOperand> locals() const { return locals_; }

  // Storages of the LocalTensors, and those given as arguments themselves.
  c10::ArrayRef<LocalStorage*> storages() const { return storages_; }

  // Whether a LocalTensor's cohorts, or a plain tensor, dispatch to Python themselves
  // (FakeTensors).
  bool has_python_tensors() const;

  // Plain tensors among the arguments, and whether the operator writes to one.
  c10::ArrayRef<at::Tensor> plain() const { return plain_; }
  bool writes_plain() const noexcept { return writes_plain_; }

  // Common refinement of `start` and of all operands; of one whose values are not read (because it
  // is overwritten, or only its shape matters) only its geometry.
  RankPartition meet_all(const RankPartition& start) const;

  // Fixes the cohorts that fill() speaks of.
  void bind(const RankPartition& partition);

  // Pushes the arguments as one cohort has them.
  void fill(std::int32_t cohort, torch::jit::Stack* stack) const;

 private:
  // Which of an operand's cohorts stands for a cohort of the call: the one that holds its lowest
  // rank. A table where the operand is finer than the call, that is, where it may merge.
  struct CohortMap {
    CohortProjection projection;
    std::vector<std::int32_t> table;
    std::int32_t operator[](std::int32_t cohort) const {
      return table.empty() ? projection[cohort] : table[static_cast<std::size_t>(cohort)];
    }
  };
  // One value that ranks may hold differently: a LocalTensor, a LocalStorage, or a number.
  struct Element {
    std::size_t position;  // in its list; 0 outside of lists
    LocalTensorImpl* impl = nullptr;
    LocalStorage* storage = nullptr;
    bool by_geometry = false;  // its values are not read, so ranks that share a shape are alike
    bool is_wrapped_number = false;  // the number stands for a 0-dim tensor
    c10::Scalar number;
    const CohortTensors* tensors = nullptr;  // set by bind()
    CohortMap map;                           // set by bind()

    const RankPartition& partition() const;
    c10::IValue on_cohort(std::int32_t cohort) const;
  };
  // One argument that holds such values.
  struct Varying {
    std::size_t argument;
    bool is_list;
    c10::SmallVector<Element, 1> elements;
  };

  std::optional<Element> element_of(const OperatorInfo& info, std::size_t argument,
                                    const c10::IValue& value);
  void note_ranks(const RankSet& ranks);
  bool writes(const OperatorInfo& info, std::size_t argument) const;
  c10::IValue list_on_cohort(const Varying& varying, std::int32_t cohort) const;

  c10::ArrayRef<c10::IValue> arguments_;
  const RankSet* ranks_ = nullptr;  // one operand's own
  c10::SmallVector<LocalOperand, 4> locals_;
  c10::SmallVector<LocalStorage*, 4> storages_;
  c10::SmallVector<at::Tensor, 2> plain_;
  bool writes_plain_ = false;
  c10::SmallVector<Varying, 4> varying_;
};

}  // namespace polyrank
