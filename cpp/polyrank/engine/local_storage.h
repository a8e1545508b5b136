// The memory behind a LocalTensor: one plain storage for each cohort of ranks.
#pragma once

#include <c10/core/Storage.h>
#include <c10/core/StorageImpl.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/core/rank_set.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace polyrank {

// NOTE [Splitting storages]
// Views, `detach` and in-place operators share memory, so the question "which ranks still hold the
// same bytes" belongs to memory and not to tensors. A LocalStorage answers it for all tensors on
// it: before an operator writes with operands of a finer partition, the storage is *split*: each
// new cohort gets its own copy of the bytes. The generation number moves, and each LocalTensorImpl
// on this storage rebuilds its cohort tensors the next time that it is asked for them. So a write
// through any alias is seen by all aliases, and only on the ranks that wrote.
//
// A rank whose memory is reachable from outside (a tensor handed to the user, or an operator's
// output that aliases it in some cohorts only) is *pinned*: it is a cohort of its own and stays
// one, so that the outside alias can't go stale.

// The storage of a LocalTensor. It is a genuine c10::StorageImpl, so that whatever in PyTorch
// shares storages (views, `detach`, `set_`) shares all ranks' memory. It has no data pointer of its
// own: asking for one raises.
//
// Thread rule: as c10::StorageImpl: concurrent reads are fine, writes need outside order.
//
// Invariants:
//  (1) num_cohorts storages, each a plain one, all on `device()`;
//  (2) `generation()` moves whenever `partition()` or one of the storages is replaced;
//  (3) each pinned rank is a cohort of its own, and its storage is never replaced;
//  (4) a borrowed storage (a plain tensor's memory) is never split;
//  (5) nor is a lent one (memory that an array of another library shares), while it is lent;
//      memory of another library is lent while somebody else sees it.
class POLYRANK_API LocalStorage final : public c10::StorageImpl {
 public:
  // Makes a storage of one plain storage per cohort.
  // Requires: storages.size() == partition.num_cohorts() >= 1
  static c10::intrusive_ptr<LocalStorage> make(RankPartition partition,
                                               std::vector<c10::Storage> storages);

  // The LocalStorage that `storage` is, or null.
  static LocalStorage* from(const c10::Storage& storage) noexcept;

  const RankPartition& partition() const noexcept { return partition_; }
  const c10::Storage& storage(std::int32_t cohort) const {
    return storages_[static_cast<std::size_t>(cohort)];
  }
  const c10::Storage& storage_on_rank(std::int64_t rank) const {
    return storage(partition_.cohort_of(rank));
  }
  std::uint64_t generation() const noexcept { return generation_; }
  bool is_borrowed() const noexcept { return is_borrowed_; }

  // Whether the storages hold bytes (false: meta or fake tensors, where ranks can't differ).
  bool has_data() const noexcept { return has_data_; }

  // Splits cohorts, so that the partition refines `partition`; copies one cohort's bytes for each
  // new cohort. No-op without data.
  // Throws: DivergenceError if the storage is borrowed or lent and would have to be split;
  //         UnsupportedOpError if it is that of sparse tensors.
  void split(const RankPartition& partition);

  // Replaces all storages; the old ones are dropped.
  // Requires: nothing is pinned, and the storage is neither borrowed nor lent; see can_replace().
  void replace(RankPartition partition, std::vector<c10::Storage> storages);
  bool can_replace() const noexcept {
    return pinned_.empty() && !is_borrowed_ && !is_whole_ && !is_lent();
  }

  // Splits `ranks` off, each a cohort of its own for good.
  void pin(const RankSet& ranks);

  // Marks the storage as the memory of a plain tensor, see invariant (4).
  void set_borrowed() noexcept { is_borrowed_ = true; }

  // Lends the memory to another library, see invariant (5); each loan is ended once.
  void begin_loan() noexcept { ++num_loans_; }
  void end_loan() noexcept { --num_loans_; }
  // Marks the memory as another library's, see invariant (5). `is_seen`, which must not throw:
  // whether anybody but this storage has it.
  void set_foreign(std::function<bool()> is_seen) noexcept { is_seen_ = std::move(is_seen); }

  // Marks the storage as that of tensors which are kept whole, or as memory that one of them has,
  // too: it is never split either (NOTE [Sparse LocalTensors] in whole_tensor.h).
  void set_whole() noexcept { is_whole_ = true; }

  // Frees (0) or regrows the memory of all ranks; bytes up to the smaller size are kept. Freed
  // memory differs between no ranks: a storage without pinned ranks becomes one cohort.
  // Throws: UsageError if a cohort's memory can't be resized (it belongs to another library).
  void resize(const c10::SymInt& nbytes);

  // Takes over the sizes in bytes that operators gave the cohorts' storages (`resize_`).
  void refresh_nbytes();

 private:
  friend class c10::intrusive_ptr<LocalStorage>;

  LocalStorage(RankPartition partition, std::vector<c10::Storage> storages);

  bool is_lent() const noexcept { return num_loans_ > 0 || (is_seen_ && is_seen_()); }

  RankPartition partition_;
  std::vector<c10::Storage> storages_;
  std::uint64_t generation_ = 0;
  RankSet pinned_;
  bool is_borrowed_ = false;
  bool is_whole_ = false;
  std::int64_t num_loans_ = 0;
  std::function<bool()> is_seen_;  // empty once the memory is another
  bool has_data_ = true;
};

}  // namespace polyrank
