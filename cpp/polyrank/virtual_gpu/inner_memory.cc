#include <polyrank/virtual_gpu/inner_memory.h>
#include <polyrank/virtual_gpu/reduction_memory.h>

#include <array>
#include <unordered_map>

namespace polyrank {

namespace {

constexpr std::string_view kCublas =
    "aten/src/ATen/native/cuda/cuBlasCommonArgs.h (prepare_matrix_for_cublas)";
constexpr std::string_view kCublasHandles = "aten/src/ATen/cuda/CublasHandlePool.cpp";
constexpr std::string_view kFlash =
    "aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp (mha_bwd, mha_varlen_bwd)";
constexpr std::string_view kEfficient =
    "aten/src/ATen/native/transformers/cuda/mem_eff_attention/kernel_backward.h (workspace_size)";
constexpr std::string_view kMatmul = "cuBLAS's workspace; copies of matrices that it does not take";
constexpr std::string_view kFlashWhat =
    "dq in float, the sum of output times gradient for each row, dk and dv of shared heads";
constexpr std::string_view kEfficientWhat =
    "dq in tiles of floats, the sum of output times gradient for each row";
constexpr std::string_view kIndexing =
    "aten/src/ATen/native/cuda/Indexing.cu (index_put_with_sort_kernel); the sort's own copies are "
    "supposed";
constexpr std::string_view kIndexPutWhat =
    "with accumulate: numbers of places, sorted, with where they came from; of masks their places";
constexpr std::string_view kMasks = "aten/src/ATen/native/IndexingUtils.h (expandTensors)";
constexpr std::string_view kMasksWhat = "places of the masks' elements";
constexpr std::string_view kSortSource =
    "aten/src/ATen/native/cuda/SortStable.cu; the sort's own copies are supposed";
constexpr std::string_view kSortWhat =
    "beyond 4,096 elements: a range that is carried along, and what the radix sort takes";
constexpr std::string_view kNormSource = "aten/src/ATen/native/cuda/layer_norm_kernel.cu";
constexpr std::string_view kNormWhat = "of more than 65,536 short rows: sums of 32 rows each";

constexpr std::string_view kReduce = "aten/src/ATen/native/cuda/Reduce.cuh (global_memory_size)";
constexpr std::string_view kReduceWhat =
    "where blocks of threads share results: what each thread has of them";
constexpr std::string_view kMoments =
    "aten/src/ATen/native/cuda/ReduceMomentKernel.cu (std_var_kernel_impl) and Reduce.cuh";
constexpr std::string_view kScan =
    "aten/src/ATen/native/cuda/ScanUtils.cuh (scan_dim); the states of cub's scan are supposed";
constexpr std::string_view kScanWhat =
    "what is not whole, or of another type than the result; of a single row a state for each block";
constexpr std::string_view kGrouped =
    "aten/src/ATen/native/cuda/GroupMM.cu and CUTLASS's get_workspace_size, of Hopper";
constexpr std::string_view kGroupedWhat =
    "addresses, strides and sizes of the groups; descriptors of tensors for each multiprocessor";

using enum Certainty;

constexpr auto kTable = std::to_array<InnerMemory>({
    {"aten::mm", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::bmm", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::addmm", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::addmm_", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::_addmm_activation", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::baddbmm", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::baddbmm_", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::addbmm", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::_int_mm", kMatmul, kRead, kCublas, true, &copied_matrices},
    {"aten::_scaled_mm", "cuBLAS's workspace", kRead, kCublasHandles, true, nullptr},
    {"aten::addmv", "cuBLAS's workspace", kRead, kCublasHandles, true, nullptr},
    {"aten::addmv_", "cuBLAS's workspace", kRead, kCublasHandles, true, nullptr},
    {"aten::dot", "cuBLAS's workspace", kRead, kCublasHandles, true, nullptr},
    {"aten::vdot", "cuBLAS's workspace", kRead, kCublasHandles, true, nullptr},
    {"aten::_scaled_dot_product_flash_attention_backward", kFlashWhat, kRead, kFlash, false,
     &flash_backward_heads_first},
    {"aten::_flash_attention_backward", kFlashWhat, kRead, kFlash, false,
     &flash_backward_heads_last},
    {"aten::_scaled_dot_product_efficient_attention_backward", kEfficientWhat, kRead, kEfficient,
     false, &efficient_backward_heads_first},
    {"aten::_efficient_attention_backward", kEfficientWhat, kRead, kEfficient, false,
     &efficient_backward_heads_last},
    {"aten::_scaled_dot_product_cudnn_attention_backward", "as flash attention's backward",
     kSupposed, "cuDNN's sources are not public; its algorithm is flash attention's", false,
     &flash_backward_heads_first},
    {"aten::embedding_dense_backward",
     "beyond 3,072 indices: these sorted, and sums of ten rows each in float", kRead,
     "aten/src/ATen/native/cuda/EmbeddingBackwardKernel.cu", false, &embedding_backward},
    {"aten::index_put_", kIndexPutWhat, kSupposed, kIndexing, false, &index_put_with_masks},
    {"aten::_index_put_impl_", kIndexPutWhat, kSupposed, kIndexing, false, &index_put_with_masks},
    {"aten::index", kMasksWhat, kRead, kMasks, false, &places_of_masks},
    {"aten::masked_select", kMasksWhat, kRead, kMasks, false, &places_of_masks},
    {"aten::sort", kSortWhat, kSupposed, kSortSource, false, &sort_copies},
    {"aten::native_layer_norm_backward", kNormWhat, kRead, kNormSource, false,
     &layer_norm_backward},
    {"aten::_fused_rms_norm_backward", kNormWhat, kRead, kNormSource, false, &rms_norm_backward},
    {"aten::sum", kReduceWhat, kRead, kReduce, false, &staged_by_reduction},
    {"aten::mean", kReduceWhat, kRead, kReduce, false, &staged_by_reduction},
    {"aten::prod", kReduceWhat, kRead, kReduce, false, &staged_by_reduction},
    {"aten::amax", kReduceWhat, kRead, kReduce, false, &staged_by_reduction},
    {"aten::amin", kReduceWhat, kRead, kReduce, false, &staged_by_reduction},
    {"aten::linalg_vector_norm", kReduceWhat, kRead, kReduce, false, &staged_by_reduction},
    {"aten::var", kReduceWhat, kRead, kMoments, false, &staged_by_variance},
    {"aten::std", kReduceWhat, kRead, kMoments, false, &staged_by_variance},
    {"aten::var_mean", kReduceWhat, kRead, kMoments, false, &staged_by_variance},
    {"aten::std_mean", kReduceWhat, kRead, kMoments, false, &staged_by_variance},
    {"aten::cumsum", kScanWhat, kSupposed, kScan, false, &scan_copies},
    {"aten::cumprod", kScanWhat, kSupposed, kScan, false, &scan_copies},
    {"aten::logcumsumexp", kScanWhat, kSupposed, kScan, false, &scan_copies},
    {"aten::_grouped_mm", kGroupedWhat, kRead, kGrouped, false, &grouped_matmul},
    {"aten::_scaled_grouped_mm", kGroupedWhat, kSupposed, kGrouped, false, &grouped_matmul},
    {"aten::_foreach_norm", "a sum for each 65,536 elements", kRead,
     "aten/src/ATen/native/cuda/ForeachReduceOp.cu", false, &foreach_norm},
    {"aten::copy_", "from or to the host: what is not whole, or of another type", kRead,
     "aten/src/ATen/native/cuda/Copy.cu (copy_kernel_cuda)", false, &host_copy},
});

}  // namespace

std::span<const InnerMemory> inner_memory_table() { return kTable; }

const InnerMemory* inner_memory_of(std::string_view operation) {
  static const auto rows = [] {
    std::unordered_map<std::string_view, const InnerMemory*> made;
    for (const InnerMemory& row : kTable) {
      made.emplace(row.operation, &row);
    }
    return made;
  }();
  const auto found = rows.find(operation);
  return found == rows.end() ? nullptr : found->second;
}

std::string_view to_string(Certainty certainty) {
  switch (certainty) {
    case Certainty::kMeasured:
      return "measured";
    case Certainty::kRead:
      return "read in source";
    case Certainty::kSupposed:
      return "supposed";
  }
  return "";
}

}  // namespace polyrank
