#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/exchange/rank_operand.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/lockstep/point_to_point.h>
#include <polyrank/world/rank_thread.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace polyrank {

namespace {

thread_local std::shared_ptr<Mailbox> shared_mailbox;

std::int64_t global_peer(const GroupFamily& family, std::int64_t rank, std::int64_t peer,
                         const Group& group, bool is_send) {
  const std::int64_t global = family.member(family.group_of(rank), peer);
  if (global == rank) {
    throw UnsupportedOpError(str_cat(
        "group \"", group.label(), "\": rank ", rank, is_send ? " sends to" : " receives from",
        " itself. In lockstep all ranks run this line: give a peer that differs between ranks, as "
        "`(dist.get_rank() + 1) % world_size`, or a LocalTensor that lives on the ranks that act "
        "alone; a program where only some ranks send runs in the threads world."));
  }
  return global;
}

}  // namespace

PointToPoint read_point_to_point(const CollectiveCall& call, std::size_t unit, const Group& group) {
  PointToPoint message;
  message.tensor = call.units[unit].inputs.front();
  message.group_name = group.name();
  message.group_label = group.label();
  message.tag = call.tags[unit];
  const GroupFamily& family = group.family();
  const c10::SymInt& peers = call.peers[unit];
  const LocalIntNode* by_rank = as_local_int(peers);
  for (const std::int64_t rank : ranks_of_launch({message.tensor})) {
    const bool has_peer = by_rank == nullptr || by_rank->partition().ranks().contains(rank);
    if (family.group_of(rank) >= 0 && has_peer && call.only_rank.value_or(rank) == rank) {
      const std::int64_t peer = number_on_rank(peers, rank);
      message.ranks.push_back(rank);
      message.peers.push_back(global_peer(family, rank, peer, group, call.is_send[unit]));
    }
  }
  return message;
}

// A receive, and the messages that have come for it.
class Mailbox::Receive final : public RecordedWork {
 public:
  explicit Receive(PointToPoint message)
      : message_(std::move(message)),
        received_(message_.ranks.size()),
        future_(c10::make_intrusive<c10::ivalue::Future>(
            c10::ListType::create(c10::TensorType::get()))) {}

  // Takes what has come, and writes it when all of it has.
  void collect(std::map<Key, std::deque<at::Tensor>>* messages) {
    for (std::size_t i = 0; i < received_.size(); ++i) {
      const auto sent = received_[i].defined()
                            ? messages->end()
                            : messages->find({message_.group_name, message_.tag, message_.peers[i],
                                              message_.ranks[i]});
      if (sent != messages->end()) {
        received_[i] = std::move(sent->second.front());
        sent->second.pop_front();
        if (sent->second.empty()) {
          messages->erase(sent);
        }
      }
    }
    if (std::all_of(received_.begin(), received_.end(),
                    [](const at::Tensor& tensor) { return tensor.defined(); })) {
      write();
    }
  }

  bool isCompleted() override { return is_written_; }
  bool isSuccess() const override { return is_written_; }
  void synchronize() override { wait(std::chrono::milliseconds::zero()); }
  std::vector<at::Tensor> result() override { return {message_.tensor}; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

  bool wait(std::chrono::milliseconds /*timeout*/) override {
    note_wait();
    if (!is_written_) {
      await_messages();
    }
    return true;
  }

 private:
  void await_messages() {
    const auto missing = static_cast<std::size_t>(
        std::find_if(received_.begin(), received_.end(),
                     [](const at::Tensor& tensor) { return !tensor.defined(); }) -
        received_.begin());
    RankThread* thread = RankThread::current();
    if (thread == nullptr || shared_mailbox == nullptr) {
      throw DeadlockError(str_cat(
          "group \"", message_.group_label, "\": rank ", message_.ranks[missing],
          " waits in recv(src=", message_.peers[missing], ", tag=", message_.tag,
          ") for what was not sent. In lockstep all ranks wait at once, so that no later send "
          "comes: send first, launch both by batch_isend_irecv, or run the program in the "
          "threads world."));
    }
    turns_ = thread->turns_ptr();
    written_ = new_event(thread->rank(),
                         str_cat("the message of rank ", message_.peers[missing], " to rank ",
                                 message_.ranks[missing], " (tag ", message_.tag, " in group \"",
                                 message_.group_label, "\")"),
                         source_line_text());
    thread->wait(written_);
  }

  void write() {
    const at::Tensor& tensor = message_.tensor;
    const RankOperand operand(tensor, ranks_of_launch({tensor}));
    std::unordered_map<const c10::TensorImpl*, std::int64_t> label_of;
    std::vector<std::int64_t> labels;
    RankResults results;
    results.are_new = false;  // ranks that were sent one tensor share it
    for (std::size_t i = 0; i < received_.size(); ++i) {
      check_fits(i, operand.on_rank(message_.ranks[i]));
      const auto next = static_cast<std::int64_t>(label_of.size());
      const auto [entry, is_new] = label_of.emplace(received_[i].unsafeGetTensorImpl(), next);
      labels.push_back(entry->second);
      if (is_new) {
        results.tensors.push_back(received_[i]);
      }
    }
    results.partition = RankPartition::from_labels(RankSet::of(message_.ranks), labels);
    operand.write(results);
    is_written_ = true;
    future_->markCompleted(c10::IValue(std::vector<at::Tensor>{tensor}));
    if (written_ != nullptr) {
      turns_->finish(written_);
    }
  }

  void check_fits(std::size_t i, const at::Tensor& target) const {
    if (target.numel() != received_[i].numel() || target.dtype() != received_[i].dtype()) {
      throw CollectiveError(str_cat(
          "group \"", message_.group_label, "\": rank ", message_.peers[i], " sent ",
          describe_tensor(received_[i]), " to rank ", message_.ranks[i], ", which receives into ",
          describe_tensor(target), ". Receive into a tensor of that size and dtype."));
    }
  }

  PointToPoint message_;
  std::vector<at::Tensor> received_;  // by rank; undefined: has not come
  c10::intrusive_ptr<c10::ivalue::Future> future_;
  bool is_written_ = false;
  std::shared_ptr<Meeting> written_;  // the event, if a thread waits for it
  std::shared_ptr<RankTurns> turns_;
};

Mailbox::Mailbox() = default;
Mailbox::~Mailbox() = default;

void Mailbox::send(const PointToPoint& message) {
  const RankOperand operand(message.tensor, ranks_of_launch({message.tensor}));
  std::unordered_map<const c10::TensorImpl*, at::Tensor> copies;  // one for each cohort
  for (std::size_t i = 0; i < message.ranks.size(); ++i) {
    const at::Tensor& own = operand.on_rank(message.ranks[i]);
    at::Tensor& copy = copies[own.unsafeGetTensorImpl()];
    if (!copy.defined()) {
      copy = own.clone(at::MemoryFormat::Contiguous);
    }
    messages_[{message.group_name, message.tag, message.ranks[i], message.peers[i]}].push_back(
        copy);
  }
  deliver();
}

c10::intrusive_ptr<RecordedWork> Mailbox::receive(const PointToPoint& message) {
  auto receive = c10::make_intrusive<Receive>(message);
  waiting_.push_back(receive);
  deliver();
  return receive;
}

void Mailbox::deliver() {
  const auto waiting = std::exchange(waiting_, {});
  for (const auto& receive : waiting) {
    receive->collect(&messages_);
    if (!receive->isCompleted()) {
      waiting_.push_back(receive);
    }
  }
}

void Mailbox::clear() {
  messages_.clear();
  waiting_.clear();
}

Mailbox& mailbox() {
  thread_local Mailbox of_thread;
  return shared_mailbox != nullptr ? *shared_mailbox : of_thread;
}

void share_mailbox(std::shared_ptr<Mailbox> shared) { shared_mailbox = std::move(shared); }

}  // namespace polyrank
