#include <ATen/Functions.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/whole_tensor.h>

namespace polyrank {

bool is_strided(const at::Tensor& tensor) {
  return tensor.layout() == c10::kStrided && tensor.has_storage();
}

bool can_be_whole(const at::Tensor& tensor) {
  return tensor.layout() == c10::kSparse && !tensor.is_quantized();
}

c10::Storage storage_behind(const at::Tensor& tensor) {
  if (is_strided(tensor)) {
    return tensor.storage();
  }
  return c10::Storage(c10::Storage::use_byte_size_t(), 0, c10::DataPtr(nullptr, tensor.device()),
                      /*allocator=*/nullptr,
                      /*resizable=*/false);
}

at::Tensor shallow_copy(const at::Tensor& tensor) {
  // With the key on, PyTorch lets the mode on top of the stack make the copy, in Python. A cohort's
  // is no operator of the program. (FakeTensors' copies are made in Python alone.)
  const bool is_fake = tensor.key_set().has(c10::DispatchKey::Python);
  const c10::impl::ExcludeDispatchKeyGuard no_python(
      is_fake ? c10::DispatchKeySet() : c10::DispatchKeySet(c10::DispatchKey::Python));
  return at::Tensor(tensor.unsafeGetTensorImpl()->shallow_copy_and_detach(
      c10::VariableVersion(0), /*allow_tensor_metadata_change=*/true));
}

void check_one_shape_of_whole(const std::vector<at::Tensor>& tensors) {
  for (const at::Tensor& tensor : tensors) {
    if (!is_strided(tensor) && tensor.sizes() != tensors.front().sizes()) {
      throw UnsupportedOpError(
          "ranks hold sparse tensors of different shapes. Give them one shape, or run the program "
          "in the threads world (`polyrank run --world threads`).");
    }
  }
}

at::Tensor own_copy(const at::Tensor& tensor) {
  return tensor.layout() == c10::kStrided ? tensor.clone(at::MemoryFormat::Contiguous)
                                          : tensor.clone();  // it has no memory format
}

std::size_t nbytes_of(const at::Tensor& tensor) {
  return tensor.layout() == c10::kSparse ? tensor._indices().nbytes() + tensor._values().nbytes()
                                         : tensor.nbytes();
}

}  // namespace polyrank
