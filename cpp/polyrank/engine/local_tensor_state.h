// The parts of a LocalTensor, for copying and pickling: its storage's bytes and its geometry.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>
#include <polyrank/engine/local_storage.h>
#include <polyrank/engine/local_tensor_impl.h>

#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

namespace polyrank {

// The memory of a LocalTensor. Tensors that share memory have the same object.
// Throws: UsageError if it is no LocalTensor, or one of sparse tensors.
POLYRANK_API c10::intrusive_ptr<LocalStorage> storage_of(const at::Tensor& tensor);

// Ranks of each cohort, and their storage.
using StorageState = std::pair<std::vector<std::vector<std::int64_t>>, std::vector<c10::Storage>>;
POLYRANK_API StorageState storage_state(const LocalStorage& storage);

// A storage over such a state.
// Throws: UsageError if the ranks overlap or their number is not that of the storages.
POLYRANK_API c10::intrusive_ptr<LocalStorage> make_storage(
    const std::vector<std::vector<std::int64_t>>& ranks, const std::vector<c10::Storage>& storages);

// Sizes, strides and storage offset.
using Geometry = std::tuple<std::vector<std::int64_t>, std::vector<std::int64_t>, std::int64_t>;
// Ranks and geometry of each cohort that has a geometry of its own.
using GeometryState = std::pair<std::vector<std::vector<std::int64_t>>, std::vector<Geometry>>;
// Throws: as storage_of().
POLYRANK_API GeometryState geometry_of(const at::Tensor& tensor);

// A LocalTensor of the given dtype and geometry on `storage`.
// Throws: UsageError if the ranks are not the storage's.
POLYRANK_API at::Tensor tensor_on_storage(const c10::intrusive_ptr<LocalStorage>& storage,
                                          c10::ScalarType dtype,
                                          const std::vector<std::vector<std::int64_t>>& ranks,
                                          const std::vector<Geometry>& geometries);

// Replaces one rank's tensor. Where it has the geometry that the rank has now its values are
// copied, so that views of the LocalTensor see them; otherwise the LocalTensor moves to new memory.
// Throws: UsageError as on_rank(), if dtype or device are not the LocalTensor's, or as
// storage_of().
POLYRANK_API void put_rank(const at::Tensor& tensor, std::int64_t rank, const at::Tensor& value);

}  // namespace polyrank
