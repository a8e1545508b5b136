#include <ATen/Context.h>
#include <ATen/ExpandUtils.h>
#include <polyrank/core/ceil_div.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/inner_sizes.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace polyrank {

namespace {

constexpr std::int64_t kFloat = 4;
constexpr std::int64_t kLong = 8;

std::int64_t element_bytes(const at::Tensor& tensor) {
  return static_cast<std::int64_t>(tensor.element_size());
}

std::int64_t bytes_of(const at::Tensor& tensor) { return tensor.numel() * element_bytes(tensor); }

// Half precision adds up in float.
std::int64_t sum_bytes(const at::Tensor& tensor) { return std::max(kFloat, element_bytes(tensor)); }

// --- matmuls ------------------------------------------------------------------------------------

// cuBLAS takes matrices whose rows or columns lie one after the other; others are copied.
bool is_blas_matrix(const at::Tensor& tensor) {
  const std::int64_t rows = tensor.dim() - 2;
  const std::int64_t columns = tensor.dim() - 1;
  const auto lies_along = [&](std::int64_t fast, std::int64_t slow) {
    return tensor.stride(fast) == 1 &&
           tensor.stride(slow) >= std::max<std::int64_t>(1, tensor.size(fast));
  };
  return tensor.is_non_overlapping_and_dense() || lies_along(rows, columns) ||
         lies_along(columns, rows);
}

}  // namespace

PieceSizes copied_matrices(const OperatorArguments& call) {
  PieceSizes pieces;
  for (const char* name : {"self", "mat1", "batch1", "mat2", "batch2"}) {
    const at::Tensor matrix = call.tensor(name);
    // What addmm adds to is copied into the result.
    const bool is_factor = name != std::string_view("self") ||
                           (!call.tensor("mat1").defined() && !call.tensor("batch1").defined());
    if (matrix.defined() && is_factor && matrix.dim() >= 2 && !is_blas_matrix(matrix)) {
      pieces.push_back(bytes_of(matrix));
    }
  }
  return pieces;
}

namespace {

// --- grouped matmuls ----------------------------------------------------------------------------

std::int64_t num_groups(const at::Tensor& left, const at::Tensor& right, const at::Tensor& ends) {
  for (const at::Tensor& batched : {left, right}) {
    if (batched.dim() == 3) {
      return batched.size(0);
    }
  }
  return ends.defined() ? ends.size(0) : 1;
}

}  // namespace

// Of each group three addresses, three strides and three sizes. Descriptors of tensors for each
// multiprocessor: of the two factors, of what is added, and of the result for both groups of warps.
PieceSizes grouped_matmul(const OperatorArguments& call) {
  constexpr std::int64_t kAddressesAndStrides = 6 * kLong;
  constexpr std::int64_t kSizes = 12;
  constexpr std::int64_t kDescriptors = 5;
  constexpr std::int64_t kDescriptor = 128;
  const at::Tensor left = call.tensor("self");
  const at::Tensor right = call.tensor("mat2");
  const at::Tensor ends = call.tensor("offs");
  const std::int64_t groups = num_groups(left, right, ends);
  const std::int64_t aligned = round_up(groups, 2);
  return {(aligned - groups) * 3 * kLong + groups * (kAddressesAndStrides + kSizes),
          kDescriptors * kDescriptor * virtual_gpus().num_multiprocessors};
}

namespace {

// --- attention ----------------------------------------------------------------------------------

struct Heads {
  std::int64_t batch;  // 1 where sequences are packed
  std::int64_t num;
  std::int64_t sequence;
  std::int64_t size;
};

Heads heads_of(const at::Tensor& tensor, bool has_heads_first) {
  if (tensor.dim() < 4) {
    return {1, tensor.size(1), tensor.size(0), tensor.size(2)};
  }
  return {tensor.size(0), tensor.size(has_heads_first ? 1 : 2),
          tensor.size(has_heads_first ? 2 : 1), tensor.size(3)};
}

std::int64_t splits_of_flash(const Heads& query) {
  if (!at::globalContext().deterministicAlgorithms()) {
    return 1;
  }
  return ceil_div(virtual_gpus().num_multiprocessors, query.batch * query.num);
}

// The sum of output times gradient for each row, dq in float, and dk and dv for each head of the
// query where several of these share one.
PieceSizes flash_backward(const OperatorArguments& call, bool has_heads_first) {
  const at::Tensor tensor = call.tensor("query");
  const at::Tensor key_tensor = call.tensor("key");
  const Heads query = heads_of(tensor, has_heads_first);
  const Heads key = heads_of(key_tensor, has_heads_first);
  const at::Tensor starts = call.tensor("cum_seq_q");
  constexpr std::int64_t kRows = 128;
  const bool is_packed = tensor.dim() < 4 && starts.defined();
  const std::int64_t rows =
      is_packed ? query.sequence + kRows * (starts.numel() - 1) : round_up(query.sequence, kRows);
  const std::int64_t size = query.size <= 192 ? round_up(query.size, 32) : 256;
  PieceSizes pieces{
      query.batch * query.num * rows * kFloat,
      splits_of_flash(query) * query.batch * query.num * rows * size * kFloat,
  };
  if (query.num != key.num) {
    const std::int64_t expanded =
        key.batch * key.sequence * query.num * key.size * element_bytes(key_tensor);
    pieces.append({expanded, expanded});
  }
  return pieces;
}

}  // namespace

PieceSizes flash_backward_heads_first(const OperatorArguments& call) {
  return flash_backward(call, /*has_heads_first=*/true);
}

PieceSizes flash_backward_heads_last(const OperatorArguments& call) {
  return flash_backward(call, /*has_heads_first=*/false);
}

namespace {

// The kernel that has room for the head size: the sides of its tiles, and up to what size it keeps
// dk and dv in registers.
struct EfficientKernel {
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t most_size;
};

EfficientKernel efficient_kernel(std::int64_t size) {
  const bool is_small_gpu = virtual_gpus().major == 8 && virtual_gpus().minor > 0;
  if (size <= 64) {
    return {64, 64, 64};
  }
  if (is_small_gpu && size <= 96) {
    return {128, 64, 96};
  }
  if (size <= 128) {
    return is_small_gpu ? EfficientKernel{64, 64, 128} : EfficientKernel{128, 128, 128};
  }
  return {128, 64, std::numeric_limits<std::int64_t>::max()};
}

// The sum of output times gradient for each row, and dq in tiles, each with a lock.
PieceSizes efficient_backward(const OperatorArguments& call, bool has_heads_first) {
  const at::Tensor tensor = call.tensor("query");
  const Heads query = heads_of(tensor, has_heads_first);
  const std::int64_t value_size = call.tensor("value").size(-1);
  const EfficientKernel kernel = efficient_kernel(std::max(query.size, value_size));
  constexpr std::int64_t kLock = 4;  // floats
  const std::int64_t tiles =
      ceil_div(query.sequence, kernel.rows) * ceil_div(query.size, kernel.columns);
  std::int64_t elements = tiles * (kLock + kernel.rows * kernel.columns);
  const bool is_half = element_bytes(tensor) < kFloat;
  if (is_half && kernel.most_size > kernel.rows) {
    elements +=
        kernel.columns * (round_up(query.size, kernel.rows) + round_up(value_size, kernel.rows));
  }
  const std::int64_t heads = query.batch * query.num;
  PieceSizes pieces{heads * query.sequence * kFloat, heads * round_up(elements, 4) * kFloat};
  if (!is_half) {  // that sum is made by operators: the product of both
    pieces.push_back(heads * query.sequence * value_size * kFloat);
  }
  return pieces;
}

}  // namespace

PieceSizes efficient_backward_heads_first(const OperatorArguments& call) {
  return efficient_backward(call, /*has_heads_first=*/true);
}

PieceSizes efficient_backward_heads_last(const OperatorArguments& call) {
  return efficient_backward(call, /*has_heads_first=*/false);
}

// --- indices ------------------------------------------------------------------------------------

// Indices in their order and where they came from; where the rows of each begin, cut into pieces of
// ten; and the sum of each piece in float.
PieceSizes embedding_backward(const OperatorArguments& call) {
  constexpr std::int64_t kMostWithoutSort = 3072;
  constexpr std::int64_t kRowsAPiece = 10;
  const at::Tensor indices = call.tensor("indices");
  const at::Tensor gradient = call.tensor("grad_output");
  const std::int64_t count = indices.numel();
  if (count == 0 || (count <= kMostWithoutSort && !call.flag("scale_grad_by_freq"))) {
    return {};
  }
  const std::int64_t index = element_bytes(indices);
  const std::int64_t segments = std::min(count, call.integer("num_weights").value_or(count));
  const std::int64_t partial = count / kRowsAPiece + segments;
  PieceSizes pieces{count * index,
                    count * index,
                    count * index,
                    segments * index,
                    segments * index,
                    partial * index,
                    partial * gradient.size(-1) * sum_bytes(gradient)};
  if (call.flag("scale_grad_by_freq")) {
    pieces.push_back(count * index);
  }
  return pieces;
}

namespace {

std::int64_t num_places(const std::vector<at::Tensor>& indices) {
  c10::DimVector sizes;
  for (const at::Tensor& index : indices) {
    sizes = at::infer_size_dimvector(sizes, index.sizes());
  }
  return c10::multiply_integers(sizes);
}

// Where several values go to one place, places are sorted: numbers of the places, these in order,
// where they came from, a range, and what the sort takes.
PieceSizes index_put(const OperatorArguments& call) {
  const std::vector<at::Tensor> indices = call.tensors("indices");
  const bool is_sorted = call.flag("accumulate") || at::globalContext().deterministicAlgorithms();
  const std::int64_t places = is_sorted ? num_places(indices) : 0;
  if (places == 0) {
    return {};
  }
  const std::int64_t bytes = places * kLong;
  PieceSizes pieces{bytes, bytes, bytes, bytes, 2 * bytes};
  const at::Tensor values = call.tensor("values");
  if (values.defined() && !values.is_contiguous()) {
    pieces.push_back(bytes_of(values));
  }
  return pieces;
}

}  // namespace

// Beyond 4,096 elements the radix sort: the range that it carries along, and its own copies.
PieceSizes sort_copies(const OperatorArguments& call) {
  constexpr std::int64_t kMostWithoutCopies = 4096;
  constexpr std::int64_t kMostSegments = 128;
  constexpr std::int64_t kLongEnough = 1'000'000;
  const at::Tensor self = call.tensor("self");
  const std::int64_t dim = call.integer("dim").value_or(-1);
  const std::int64_t length = self.dim() == 0 ? 1 : self.size(dim);
  if (length <= kMostWithoutCopies || self.numel() == 0) {
    return {};
  }
  const std::int64_t segments = self.numel() / length;
  const std::int64_t pair = kLong + element_bytes(self);
  PieceSizes pieces;
  if (segments == 1 || length >= kLongEnough) {
    pieces = {length * kLong, length * pair};
  } else if (segments < kMostSegments) {
    pieces = {self.numel() * kLong, self.numel() * kLong, self.numel() * pair};
  } else {
    pieces = {self.numel() * kLong, self.numel() * pair};
  }
  if (!self.is_contiguous()) {
    pieces.push_back(bytes_of(self));
  }
  return pieces;
}

// The scan takes what is whole, and of its result's type. Of a single row the library's scan keeps
// a state of each block of threads.
PieceSizes scan_copies(const OperatorArguments& call) {
  constexpr std::int64_t kElementsOfBlock = 1920;
  constexpr std::int64_t kState = 16;
  constexpr std::int64_t kFirstStates = 32;
  const at::Tensor self = call.tensor("self");
  if (self.dim() == 0 || self.numel() == 0) {
    return {};
  }
  const bool is_integer = c10::isIntegralType(self.scalar_type(), /*includeBool=*/true);
  const std::optional<std::int64_t> asked = call.integer("dtype");
  const at::ScalarType usual = is_integer ? at::kLong : self.scalar_type();
  const at::ScalarType wanted = asked ? static_cast<at::ScalarType>(*asked) : usual;
  PieceSizes pieces;
  const std::int64_t converted = self.numel() * static_cast<std::int64_t>(c10::elementSize(wanted));
  if (wanted != self.scalar_type()) {
    pieces.push_back(converted);
  }
  if (!self.is_contiguous()) {
    pieces.push_back(converted);
  }
  if (self.numel() == self.size(call.integer("dim").value_or(0))) {
    pieces.push_back(kState * (ceil_div(self.numel(), kElementsOfBlock) + kFirstStates));
  }
  return pieces;
}

// A mask is turned into the places of its elements: of all, since nobody knows which.
PieceSizes places_of_masks(const OperatorArguments& call) {
  PieceSizes pieces;
  std::vector<at::Tensor> masks = call.tensors("indices");
  if (const at::Tensor mask = call.tensor("mask"); mask.defined()) {
    masks.push_back(mask);
  }
  for (const at::Tensor& mask : masks) {
    if (mask.scalar_type() == at::kBool || mask.scalar_type() == at::kByte) {
      pieces.push_back(mask.numel() * std::max<std::int64_t>(1, mask.dim()) * kLong);
    }
  }
  return pieces;
}

PieceSizes index_put_with_masks(const OperatorArguments& call) {
  PieceSizes pieces = places_of_masks(call);
  if (pieces.empty()) {
    return index_put(call);
  }
  return pieces;
}

namespace {

// --- norms --------------------------------------------------------------------------------------

// Where there are many short rows: sums of 32 rows each.
PieceSizes norm_backward(const OperatorArguments& call, int num_sums) {
  constexpr std::int64_t kManyRows = 65536;
  constexpr std::int64_t kWarp = 32;
  constexpr std::int64_t kMostBlocks = kManyRows / 2;
  const at::Tensor weight = call.tensor("weight");
  const at::Tensor input = call.tensor("input");
  if (!weight.defined() || weight.numel() == 0) {
    return {};
  }
  const std::int64_t size = weight.numel();
  const std::int64_t rows = input.numel() / size;
  if (rows <= kManyRows || size / kWarp >= virtual_gpus().num_multiprocessors / 2) {
    return {};
  }
  const std::int64_t blocks = std::min(kMostBlocks / ceil_div(size, kWarp), ceil_div(rows, kWarp));
  PieceSizes pieces;
  for (int i = 0; i < num_sums; ++i) {
    pieces.push_back(blocks * size * element_bytes(weight));
  }
  return pieces;
}

}  // namespace

PieceSizes layer_norm_backward(const OperatorArguments& call) { return norm_backward(call, 2); }

PieceSizes rms_norm_backward(const OperatorArguments& call) { return norm_backward(call, 1); }

// A sum for each 65,536 elements of each tensor, as many for each as the largest has.
PieceSizes foreach_norm(const OperatorArguments& call) {
  constexpr std::int64_t kChunk = 65536;
  const std::vector<at::Tensor> tensors = call.tensors("self");
  std::int64_t chunks = 0;
  for (const at::Tensor& tensor : tensors) {
    chunks = std::max(chunks, ceil_div(tensor.numel(), kChunk));
  }
  if (chunks == 0) {
    return {};
  }
  return {static_cast<std::int64_t>(tensors.size()) * chunks * sum_bytes(tensors.front())};
}

// --- copies -------------------------------------------------------------------------------------

// Between the host and the GPU whole tensors of one type are copied. Others are made so on the GPU,
// or on the host if that waits.
PieceSizes host_copy(const OperatorArguments& call) {
  const at::Tensor to = call.tensor("self");
  const at::Tensor from = call.tensor("src");
  if (!to.defined() || !from.defined() || to.is_cpu() == from.is_cpu()) {
    return {};
  }
  const bool has_one_type = to.scalar_type() == from.scalar_type();
  const bool is_source_whole = from.is_contiguous() && from.sizes() == to.sizes();
  if (has_one_type && is_source_whole && to.is_contiguous()) {
    return {};
  }
  const bool is_async = call.flag("non_blocking");
  const bool is_to_host = to.is_cpu();
  const bool is_whole = is_to_host ? is_source_whole : to.is_contiguous();
  if (is_whole && (has_one_type || !is_async)) {
    return {};
  }
  // To the host: of its type if the GPU changes types. From the host: of its type until it does.
  const at::Tensor& like = is_to_host == is_async ? to : from;
  return {to.numel() * element_bytes(like)};
}

}  // namespace polyrank
