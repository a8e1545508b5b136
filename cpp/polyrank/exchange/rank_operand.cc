#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/whole_tensor.h>
#include <polyrank/exchange/rank_operand.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace polyrank {

namespace {

bool is_whole_storage(const at::Tensor& tensor) {
  return tensor.is_contiguous() && tensor.storage_offset() == 0 &&
         tensor.nbytes() == tensor.storage().nbytes();
}

}  // namespace

RankOperand::RankOperand(const at::Tensor& tensor, const RankSet& ranks)
    : tensor_(tensor), impl_(LocalTensorImpl::from(tensor)), ranks_(ranks) {
  if (impl_ == nullptr) {
    partition_ = RankPartition::uniform(ranks);
    return;
  }
  if (impl_->ranks() != ranks) {
    throw UsageError(str_cat("tensors of one collective live on different ranks: one on ",
                             ranks.to_string(), " and another on ", impl_->ranks().to_string(),
                             ". Make them in one mode."));
  }
  partition_ = impl_->partition();
}

const at::Tensor& RankOperand::on_rank(std::int64_t rank) const {
  return impl_ == nullptr ? tensor_ : impl_->cohort_tensors().on_rank(rank);
}

std::int64_t RankOperand::largest_nbytes() const {
  if (impl_ == nullptr || impl_->has_uniform_geometry()) {
    return static_cast<std::int64_t>(nbytes_of(on_rank(ranks_.min())));
  }
  std::size_t largest = 0;
  for (const at::Tensor& tensor : impl_->cohort_tensors().tensors) {
    largest = std::max(largest, nbytes_of(tensor));
  }
  return static_cast<std::int64_t>(largest);
}

void RankOperand::write(const RankResults& results) const {
  if (results.tensors.empty()) {
    return;  // no group runs
  }
  if (impl_ == nullptr) {
    write_plain(results);
  } else if (impl_->is_whole()) {
    replace_whole(results);
  } else if (impl_->local_storage().has_data() && !replace(results)) {
    copy_in(results);
  }
}

// Exchanges the storage's memory for the results', without a copy of what is new.
bool RankOperand::replace(const RankResults& results) const {
  LocalStorage& storage = impl_->local_storage();
  if (!storage.can_replace() || !impl_->has_uniform_geometry() || !tensor_.is_contiguous() ||
      !impl_->covers_storage()) {
    return false;
  }
  const RankPartition partition = overlay(results.partition, storage.partition());
  const auto num_cohorts = static_cast<std::size_t>(partition.num_cohorts());
  std::vector<c10::Storage> storages(num_cohorts);
  // Memory that a cohort may take over: each piece once, and what is kept has the first claim.
  std::unordered_set<const c10::StorageImpl*> available;
  if (!results.are_new) {
    for (std::int32_t cohort = 0; cohort < storage.partition().num_cohorts(); ++cohort) {
      available.insert(storage.storage(cohort).unsafeGetStorageImpl());
    }
  }
  for (std::size_t cohort = 0; cohort < num_cohorts; ++cohort) {
    const std::int64_t rank = partition.lowest_rank(static_cast<std::int32_t>(cohort));
    if (!results.partition.ranks().contains(rank)) {
      storages[cohort] = storage.storage_on_rank(rank);
      available.erase(storages[cohort].unsafeGetStorageImpl());
    }
  }
  for (std::size_t cohort = 0; cohort < num_cohorts; ++cohort) {
    const std::int64_t rank = partition.lowest_rank(static_cast<std::int32_t>(cohort));
    if (!results.partition.ranks().contains(rank)) {
      continue;
    }
    at::Tensor result = results.on_rank(rank);
    const bool may_take =
        results.are_new || available.erase(result.storage().unsafeGetStorageImpl()) == 1;
    if (!may_take || !is_whole_storage(result)) {
      result = result.clone(at::MemoryFormat::Contiguous);
    }
    storages[cohort] = result.storage();
  }
  storage.replace(partition, std::move(storages));
  return true;
}

// As gloo gives a sparse tensor other indices and values: who shares the old ones keeps them.
void RankOperand::replace_whole(const RankResults& results) const {
  RankResults all = with_kept_ranks(results, *this, ranks_);
  if (!all.are_new) {
    for (at::Tensor& tensor : all.tensors) {
      tensor = tensor.clone();
    }
  }
  const at::Tensor made = make_local_tensor(all.partition, std::move(all.tensors));
  const LocalTensorImpl& other = *LocalTensorImpl::from(made);
  impl_->reset(other.local_storage_ptr(), other.partition(), other.cohort_tensors().tensors);
}

void RankOperand::copy_in(const RankResults& results) const {
  LocalStorage& storage = impl_->local_storage();
  // By the target's cohorts, too: ranks that get the same may write it to different places.
  storage.split(meet(overlay(results.partition, storage.partition()), impl_->partition()));
  const CohortTensors& cohorts = impl_->cohort_tensors();
  for (std::int32_t cohort = 0; cohort < cohorts.partition.num_cohorts(); ++cohort) {
    const std::int64_t rank = cohorts.partition.lowest_rank(cohort);
    if (!results.partition.ranks().contains(rank)) {
      continue;
    }
    const at::Tensor& target = cohorts.tensors[static_cast<std::size_t>(cohort)];
    const at::Tensor& result = results.on_rank(rank);
    if (!target.is_same(result)) {
      target.copy_(result.sizes() == target.sizes() ? result : result.reshape(target.sizes()));
    }
  }
}

void RankOperand::write_plain(const RankResults& results) const {
  bool keeps_value = true;
  for (const at::Tensor& result : results.tensors) {
    keeps_value = keeps_value && result.is_same(tensor_);
  }
  if (keeps_value) {
    return;
  }
  if (results.tensors.size() > 1 || results.partition.ranks() != ranks_) {
    throw DivergenceError(
        str_cat("a plain tensor, which holds the same on all ranks, would hold results that differ "
                "between ranks (cohorts ",
                overlay(results.partition, partition_).to_string(),
                "). Make it a LocalTensor first: create it inside the mode, or clone it with "
                "`polyrank.rank_map(lambda rank: tensor.clone())`."));
  }
  const at::Tensor& result = results.tensors.front();
  tensor_.copy_(result.sizes() == tensor_.sizes() ? result : result.reshape(tensor_.sizes()));
}

RankSet ranks_of_launch(const std::vector<at::Tensor>& tensors) {
  const LocalTensorImpl* first = nullptr;
  for (const at::Tensor& tensor : tensors) {
    const LocalTensorImpl* impl = LocalTensorImpl::from(tensor);
    first = first == nullptr ? impl : first;
  }
  if (first != nullptr) {
    return first->ranks();
  }
  const LockstepMode* mode = current_modes().lockstep;
  if (mode == nullptr) {
    throw InternalError("a collective on plain tensors reached lockstep outside of a mode");
  }
  return mode->ranks();
}

std::int64_t number_on_rank(const c10::SymInt& number, std::int64_t rank) {
  const LocalIntNode* node = as_local_int(number);
  return node == nullptr ? number.guard_int(__FILE__, __LINE__)
                         : node->value(node->partition().cohort_of(rank));
}

std::vector<std::int64_t> lowest_ranks(const RankPartition& a, const RankPartition& b) {
  const RankPartition both = meet(a, b.restrict_to(a.ranks()));
  std::vector<std::int64_t> ranks;
  ranks.reserve(static_cast<std::size_t>(both.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < both.num_cohorts(); ++cohort) {
    ranks.push_back(both.lowest_rank(cohort));
  }
  return ranks;
}

RankResults with_kept_ranks(const RankResults& results, const RankOperand& operand,
                            const RankSet& ranks) {
  if (results.partition.ranks() == ranks) {
    return results;
  }
  RankResults all;
  all.partition = overlay(results.partition, operand.partition());
  all.are_new = results.are_new;
  for (std::int32_t cohort = 0; cohort < all.partition.num_cohorts(); ++cohort) {
    const std::int64_t rank = all.partition.lowest_rank(cohort);
    all.tensors.push_back(results.partition.ranks().contains(rank)
                              ? results.on_rank(rank)
                              : own_copy(operand.on_rank(rank)));
  }
  return all;
}

}  // namespace polyrank
