// Sends and receives in the lockstep world.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/recorded_work.h>
#include <polyrank/world/group_families.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

namespace polyrank {

// NOTE [Point-to-point in lockstep]
// All ranks of the tensor send at one moment, each to its own peer: the peer is an int that differs
// between ranks (`(get_rank() + 1) % world_size`), or the tensor lives on the one rank that sends.
// A send is complete at once, for it copies the tensor. A receive is complete when each of its
// ranks has a message from its peer: at once if the sends came before, else with a later send; who
// waits for one that has not come waits forever, because no other thread could send it; but for
// threads that share a mailbox, where another one may. Messages of one pair of ranks and one tag
// arrive in the order that they were sent.

// One send or receive by the ranks of a tensor.
struct PointToPoint {
  at::Tensor tensor;
  std::string group_name;
  std::string group_label;
  std::vector<std::int64_t> ranks;  // global ranks that take part: those that a peer is given for
  std::vector<std::int64_t> peers;  // the global rank that each sends to or receives from
  std::int64_t tag = 0;
};

// Reads one unit of a send or recv.
// Requires: peers are members of the group; see check_members()
// Throws: UnsupportedOpError if a rank would be its own peer.
PointToPoint read_point_to_point(const CollectiveCall& call, std::size_t unit, const Group& group);

// Messages that were sent and not received, and receives that wait for theirs.
//
// Thread rule: used by one thread at a time: its own, or those who share it, which take turns.
class POLYRANK_API Mailbox {
 public:
  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Requires, of send() and receive(): dispatch keys above the cohorts' operators are excluded
  void send(const PointToPoint& message);

  // The Work's wait() throws DeadlockError while a message is missing and no thread could send it.
  c10::intrusive_ptr<RecordedWork> receive(const PointToPoint& message);

  // Forgets all messages and receives.
  void clear();

 private:
  class Receive;
  using Key = std::tuple<std::string, std::int64_t, std::int64_t, std::int64_t>;

  void deliver();

  // By group, tag, sender and receiver.
  std::map<Key, std::deque<at::Tensor>> messages_;
  std::deque<c10::intrusive_ptr<Receive>> waiting_;  // in the order of their launches
};

// The mailbox of this thread, or the one that it shares.
POLYRANK_API Mailbox& mailbox();

// From now on the calling thread, which runs a rank, uses `shared` as others do that take turns
// with it: what a lockstep program on one of them sends reaches those on the others.
POLYRANK_API void share_mailbox(std::shared_ptr<Mailbox> shared);

}  // namespace polyrank
