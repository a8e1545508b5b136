#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/alike_tensors.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/whole_tensor.h>

#include <algorithm>
#include <sstream>
#include <string>

namespace polyrank {

namespace {

std::string shape_of(const at::Tensor& tensor) {
  std::ostringstream out;
  out << tensor.dtype() << tensor.sym_sizes() << " on " << tensor.device();
  return out.str();
}

// Whether a tensor handles operators in Python itself, and is no FakeTensor.
bool is_foreign(const at::Tensor& tensor) {
  return tensor.key_set().has(c10::DispatchKey::Python) &&
         interpreter_hooks().handles_operators_itself != nullptr &&
         interpreter_hooks().handles_operators_itself(tensor);
}

void check_kind(const at::Tensor& tensor) {
  if (is_foreign(tensor)) {
    throw UnsupportedOpError(
        "a rank holds a tensor of a subclass that handles operators itself; a LocalTensor is made "
        "of plain tensors. Wrap the LocalTensor in the subclass instead.");
  }
  const bool is_dense = is_strided(tensor) && !tensor.is_nested() && !tensor.is_quantized();
  if (!is_dense && !can_be_whole(tensor)) {
    throw UnsupportedOpError(str_cat(
        "a LocalTensor holds strided tensors, or sparse ones in COO form; this one is ",
        c10::str(tensor.layout()), tensor.is_nested() ? ", nested" : "",
        tensor.is_quantized() ? ", quantized" : "",
        ". Convert it (`to_dense()`, `dequantize()`), or run the program in the threads world."));
  }
}

}  // namespace

c10::DispatchKeySet view_bits(const at::Tensor& tensor) {
  return tensor.key_set() &
         c10::DispatchKeySet({c10::DispatchKey::Conjugate, c10::DispatchKey::Negative,
                              c10::DispatchKey::ZeroTensor});
}

bool same_geometry(const at::Tensor& a, const at::Tensor& b) {
  if (!is_strided(a)) {
    return a.sym_sizes() == b.sym_sizes();
  }
  return a.sym_sizes() == b.sym_sizes() && a.sym_strides() == b.sym_strides() &&
         a.sym_storage_offset() == b.sym_storage_offset();
}

void check_alike(const RankPartition& partition, const std::vector<at::Tensor>& tensors) {
  const at::Tensor& first = tensors.front();
  check_kind(first);
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    check_kind(tensor);
    if (tensor.dim() != first.dim() || tensor.dtype() != first.dtype() ||
        tensor.layout() != first.layout() || tensor.device() != first.device() ||
        view_bits(tensor) != view_bits(first)) {
      throw DivergenceError(str_cat(
          "ranks must hold tensors of one dtype, device, layout and number of dimensions, but "
          "ranks ",
          partition.cohort(0).to_string(), " hold ", shape_of(first), " and ranks ",
          partition.cohort(static_cast<std::int32_t>(i)).to_string(), " hold ", shape_of(tensor),
          view_bits(tensor) != view_bits(first) ? " with another conjugate or negative bit" : "",
          "."));
    }
  }
  check_one_shape_of_whole(tensors);
}

void merge_without_data(RankPartition* partition, std::vector<at::Tensor>* tensors) {
  const at::Tensor& first = tensors->front();
  const bool is_fake = first.key_set().has(c10::DispatchKey::Python) && !is_foreign(first);
  if (!first.is_meta() && !is_fake) {
    return;
  }
  const bool alike = std::all_of(tensors->begin(), tensors->end(), [&](const at::Tensor& tensor) {
    return tensor.dim() == first.dim() && tensor.dtype() == first.dtype() &&
           tensor.device() == first.device() && same_geometry(tensor, first);
  });
  if (alike) {
    *partition = RankPartition::uniform(partition->ranks());
    tensors->resize(1);
  }
}

}  // namespace polyrank
