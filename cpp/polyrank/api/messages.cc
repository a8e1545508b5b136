#include <polyrank/api/messages.h>
#include <polyrank/exchange/collective_call.h>

namespace polyrank {

void send(const at::Tensor& tensor, const c10::SymInt& peer, const MessageOptions& options) {
  isend(tensor, peer, options);
}

Work isend(const at::Tensor& tensor, const c10::SymInt& peer, const MessageOptions& options) {
  Tensors tensors{tensor};
  const ProcessGroup named = group_or_world(options.group);
  const RankDependentArgumentsGuard guard({.root = peer});
  return named->send(tensors, /*dstRank=*/0, options.tag);
}

void recv(const at::Tensor& tensor, const c10::SymInt& peer, const MessageOptions& options) {
  irecv(tensor, peer, options)->wait();
}

Work irecv(const at::Tensor& tensor, const c10::SymInt& peer, const MessageOptions& options) {
  Tensors tensors{tensor};
  const ProcessGroup named = group_or_world(options.group);
  const RankDependentArgumentsGuard guard({.root = peer});
  return named->recv(tensors, /*srcRank=*/0, options.tag);
}

std::vector<Work> batch_isend_irecv(const std::vector<P2POp>& operations) {
  std::vector<Work> works;
  works.reserve(operations.size());
  for (const P2POp& operation : operations) {
    works.push_back(operation.operation(operation.tensor, operation.peer, operation.options));
  }
  return works;
}

}  // namespace polyrank
