#include <polyrank/exchange/backend_rules.h>
#include <polyrank/exchange/written_versions.h>

namespace polyrank {

void count_written_versions(const CollectiveCall& call) {
  if (!writes_by_copy(*call.spec)) {
    return;
  }
  for (const at::Tensor& tensor : call.written()) {
    if (tensor.defined() && !tensor.is_inference()) {  // which has no version
      tensor.unsafeGetTensorImpl()->bump_version();
    }
  }
}

}  // namespace polyrank
