#include <ATen/core/LegacyTypeDispatch.h>
#include <polyrank/world/fake/sent_messages.h>

#include <utility>

namespace polyrank {

SentMessages::Key SentMessages::key_of(std::int64_t tag, const at::Tensor& tensor) {
  return {tag, tensor.scalar_type(), tensor.numel()};
}

void SentMessages::add(std::int64_t tag, const at::Tensor& message) {
  const at::AutoDispatchBelowAutograd below_autograd;
  at::Tensor copy = message.clone(at::MemoryFormat::Contiguous);
  const std::lock_guard<std::mutex> lock(mutex_);
  last_.insert_or_assign(key_of(tag, message), std::move(copy));
}

at::Tensor SentMessages::find(std::int64_t tag, const at::Tensor& buffer) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = last_.find(key_of(tag, buffer));
  return found == last_.end() ? at::Tensor() : found->second;
}

}  // namespace polyrank
