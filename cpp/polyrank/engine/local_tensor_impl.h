// The tensor that stands for one tensor per rank.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorImpl.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/engine/local_storage.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace polyrank {

// One plain tensor per cohort: what the engine computes with.
struct CohortTensors {
  RankPartition partition;
  std::vector<at::Tensor> tensors;  // one per cohort of `partition`; never require grad
  std::uint64_t generation = 0;     // of the LocalStorage that they were built for

  const at::Tensor& on_rank(std::int64_t rank) const {
    return tensors[static_cast<std::size_t>(partition.cohort_of(rank))];
  }
};

// A tensor with the geometry and dtype of `geometry` on `storage`; no autograd state.
POLYRANK_API at::Tensor alias_on(const at::Tensor& geometry, const c10::Storage& storage);

// A LocalStorage and a geometry (sizes, strides, offset): one geometry for all ranks, or one per
// cohort of `geometry_partition()` where ranks have different shapes.
//
// Autograd sees one tensor: it runs once, on the wrapper, and the tensors of the cohorts carry no
// autograd state. Sizes that differ between ranks are LocalIntNodes.
//
// Thread rule: as c10::TensorImpl.
//
// Invariants:
//  (1) cohort_tensors().partition == meet(local_storage().partition(), geometry_partition());
//  (2) all cohort tensors share dtype, device, layout and number of dimensions; those that are not
//      strided are kept whole (NOTE [Sparse LocalTensors] in whole_tensor.h);
//  (3) cohort tensors belong to this wrapper or to shallow copies of it with the same geometry;
//      who changes their metadata calls own_cohort_tensors() first and refresh_geometry() after.
class POLYRANK_API LocalTensorImpl final : public c10::TensorImpl {
 public:
  // Wraps `tensors`, one per cohort of `partition`, which lie on `storage`'s cohorts.
  // Requires: partition refines storage->partition(); tensors is not empty
  // Throws: DivergenceError if the tensors differ in number of dimensions, dtype or device;
  //         UnsupportedOpError if one is neither strided nor sparse.
  static at::Tensor make(c10::intrusive_ptr<LocalStorage> storage, const RankPartition& partition,
                         std::vector<at::Tensor> tensors);

  // The impl of a LocalTensor, or null.
  static LocalTensorImpl* from(const at::TensorBase& tensor) noexcept;

  // The tensors of the cohorts, rebuilt first if the storage was split since.
  const CohortTensors& cohort_tensors() const;
  const RankPartition& partition() const { return cohort_tensors().partition; }
  const RankSet& ranks() const { return geometry_partition_.ranks(); }

  LocalStorage& local_storage() const noexcept;
  c10::intrusive_ptr<LocalStorage> local_storage_ptr() const;
  const RankPartition& geometry_partition() const noexcept { return geometry_partition_; }

  // Whether all ranks have the same sizes, strides and offset.
  bool has_uniform_geometry() const noexcept { return geometry_partition_.is_uniform(); }

  // Whether cohort tensors dispatch to Python themselves (FakeTensors).
  bool has_python_cohorts() const noexcept { return has_python_cohorts_; }

  // Whether the cohorts' tensors are kept whole: sparse.
  bool is_whole() const noexcept { return is_whole_; }

  // Whether this tensor is the only content of its storage: writing all of it writes all of that.
  bool covers_storage() const;

  // Gives this wrapper cohort tensors that no other wrapper shares; see invariant (3).
  void own_cohort_tensors();

  // Takes over the metadata of the cohort tensors after an operator changed it.
  void refresh_geometry();

  // Becomes a view of `storage` through `tensors`; keeps autograd metadata and version counter.
  void reset(c10::intrusive_ptr<LocalStorage> storage, const RankPartition& partition,
             std::vector<at::Tensor> tensors);

  c10::intrusive_ptr<TensorImpl> shallow_copy_and_detach(
      const c10::VariableVersion& version_counter,
      bool allow_tensor_metadata_change) const override;
  c10::intrusive_ptr<TensorImpl> shallow_copy_and_detach(
      c10::VariableVersion&& version_counter, bool allow_tensor_metadata_change) const override;
  void shallow_copy_from(const c10::intrusive_ptr<TensorImpl>& impl) override;
  void release_resources() override;

  // Constructor for make() alone, see there.
  LocalTensorImpl(c10::intrusive_ptr<LocalStorage> storage, c10::DispatchKeySet keys,
                  const at::Tensor& sample);

 protected:
  // Sizes that differ between ranks: asked of all cohorts, or a DivergenceError.
  c10::IntArrayRef sizes_custom() const override;
  c10::IntArrayRef strides_custom() const override;
  c10::SymIntArrayRef sym_sizes_custom() const override;
  c10::SymIntArrayRef sym_strides_custom() const override;
  c10::SymInt sym_numel_custom() const override;
  c10::SymInt sym_storage_offset_custom() const override;
  std::int64_t numel_custom() const override;
  std::int64_t storage_offset_custom() const override;
  std::int64_t dim_custom() const override;
  bool is_strides_like_custom(at::MemoryFormat memory_format) const override;
  c10::SymBool sym_is_contiguous_custom(at::MemoryFormat memory_format) const override;
  c10::SymBool sym_is_non_overlapping_and_dense_custom() const override;
  c10::Layout layout_impl() const override;
  const char* tensorimpl_type_name() const override { return "LocalTensorImpl"; }

 private:
  struct SymbolicGeometry;

  void copy_local_fields(const LocalTensorImpl& other);
  void rebuild() const;
  void set_cohort_tensors(const RankPartition& partition, std::vector<at::Tensor> tensors);
  [[noreturn]] void throw_sizes_differ(const char* what) const;

  RankPartition geometry_partition_;
  mutable std::shared_ptr<const CohortTensors> cohort_tensors_;
  std::shared_ptr<const SymbolicGeometry> symbolic_;  // null where the geometry is uniform
  bool has_python_cohorts_ = false;
  bool is_whole_ = false;
};

}  // namespace polyrank
