// Sends and receives, named as in torch.distributed; see NOTE [Point-to-point in lockstep].
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <polyrank/api/collectives.h>
#include <polyrank/core/export.h>

#include <vector>

namespace polyrank {

// All ranks of the tensor send or receive, each to or from its own peer: a group rank that may
// differ between ranks, as `(get_rank() + 1) % n`. A tensor that lives on some ranks acts for those
// alone. Messages of one pair of ranks and one tag arrive in the order that they were sent.
// Throws, all of them: as in NOTE [Collectives in C++]; UnsupportedOpError if a rank would be its
//         own peer.

struct MessageOptions {
  int tag = 0;
  ProcessGroup group = {};
};

// Sends a copy: the tensor may be written again at once.
POLYRANK_API void send(const at::Tensor& tensor, const c10::SymInt& peer,
                       const MessageOptions& options = {});

// As send(); the Work is complete.
POLYRANK_API Work isend(const at::Tensor& tensor, const c10::SymInt& peer,
                        const MessageOptions& options = {});

// Receives what the peer sent.
// Shapes: as the tensor that was sent.
// Throws: DeadlockError if a rank's message was not sent before.
POLYRANK_API void recv(const at::Tensor& tensor, const c10::SymInt& peer,
                       const MessageOptions& options = {});

// Receives what the peer sent or will send: the Work is complete when it has come to all ranks, and
// wait() throws DeadlockError until then.
POLYRANK_API Work irecv(const at::Tensor& tensor, const c10::SymInt& peer,
                        const MessageOptions& options = {});

// A send or a receive of a batch: `operation` is &isend or &irecv.
struct P2POp {
  Work (*operation)(const at::Tensor&, const c10::SymInt&, const MessageOptions&);
  at::Tensor tensor;
  c10::SymInt peer;
  MessageOptions options = {};
};

// Launches them in their order, receives before their sends if need be; one Work for each.
POLYRANK_API std::vector<Work> batch_isend_irecv(const std::vector<P2POp>& operations);

}  // namespace polyrank
