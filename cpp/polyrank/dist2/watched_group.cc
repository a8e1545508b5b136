#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/watched_group.h>
#include <polyrank/dist2/watched_work.h>
#include <polyrank/engine/interpreter_hooks.h>

#include <algorithm>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <utility>

namespace polyrank::dist2 {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kLongestInquiry{1000};
constexpr milliseconds kPause{20};

std::string ranks_text(const std::vector<std::int64_t>& ranks) {
  return str_cat(ranks.size() == 1 ? "rank " : "ranks ", RankSet::of(ranks).to_string());
}

std::string ended_text(const std::vector<std::int64_t>& ranks) {
  const bool is_one = ranks.size() == 1;
  return str_cat("the process", is_one ? "" : "es", " of ", ranks_text(ranks),
                 is_one ? " has" : " have", " ended. Look at its output for the cause");
}

}  // namespace

Members::Members(std::string name, Store store, int rank, std::vector<std::string> addresses,
                 milliseconds timeout)
    : name_(std::move(name)),
      store_(std::move(store)),
      rank_(rank),
      addresses_(std::move(addresses)),
      timeout_(timeout) {}

std::string Members::label(std::string_view launch, std::int64_t number) const {
  return str_cat("group \"", name_, "\" of ", addresses_.size(), ", rank ", rank_, ": ", launch,
                 " (launch #", number, ")");
}

// Of all whose processes have ended, without a look at the store.
std::string Members::ended_members() const {
  std::vector<std::int64_t> ended;
  for (std::size_t member = 0; member < addresses_.size(); ++member) {
    if (has_ended(addresses_[member], kPause * 5)) {
      ended.push_back(static_cast<std::int64_t>(member));
    }
  }
  return ended.empty() ? "" : ended_text(ended);
}

std::string Members::findings() const {
  std::vector<std::int64_t> ended;
  std::vector<std::int64_t> silent;
  const auto deadline = Clock::now() + std::min(kLongestInquiry, timeout_ / 2);
  do {
    ended.clear();
    silent.clear();
    for (int member = 0; member < static_cast<int>(addresses_.size()); ++member) {
      if (store_->check({str_cat("failed/", member)})) {
        continue;  // a victim, also if it has ended since
      }
      const bool is_gone = has_ended(addresses_[static_cast<std::size_t>(member)], kPause * 5);
      (is_gone ? ended : silent).push_back(member);
    }
    // Who is gone is the answer; who has not failed yet may still do so.
    if (!ended.empty() || silent.empty()) {
      break;
    }
    std::this_thread::sleep_for(kPause);
  } while (Clock::now() < deadline);
  if (!ended.empty()) {
    return ended_text(ended);
  }
  if (!silent.empty()) {
    return str_cat("all processes live; ", ranks_text(silent),
                   silent.size() == 1 ? " has" : " have",
                   " not failed here: not there yet, or through with it. Look at what it does "
                   "instead, or give new_group a longer time-out");
  }
  return "all processes live, and it failed on all of them";
}

void Members::explain(const std::string& launch, const std::string& error) const {
  std::string found;
  try {
    store_->set(str_cat("failed/", rank_), launch);
    found = findings();
  } catch (const std::exception&) {
    const std::string ended = ended_members();
    found = str_cat("the store is gone, and so has the process ended that served it",
                    ended.empty() ? "" : "; ", ended);
  }
  throw CollectiveError(str_cat(launch, ": ", found, ". The backend says: ", error));
}

WatchedGroup::WatchedGroup(int size, std::shared_ptr<const Members> members,
                           CopyOptions copy_options)
    : IndependentGroup(members->store(), members->rank(), size),
      members_(std::move(members)),
      copy_options_(copy_options) {}

void WatchedGroup::check_open(std::string_view launch) const {
  if (is_shut_down_) {
    raise(CollectiveError(str_cat(members_->label(launch, num_launches_),
                                  " after the group was shut down. Make a new group.")));
  }
}

template <class Launch>
WatchedGroup::Work WatchedGroup::watched(std::string_view launch, const Launch& function) {
  check_open(launch);
  const std::int64_t number = num_launches_++;
  return c10::make_intrusive<WatchedWork>(function(), members_, launch, number);
}

void WatchedGroup::check_peer(std::string_view launch, int peer) const {
  if (peer < 0 || peer >= getSize()) {
    raise(CollectiveError(str_cat(members_->label(launch, num_launches_), ": it has no group rank ",
                                  peer, "; valid: 0..", getSize() - 1)));
  }
}

// What is watched: the function of PyTorch's group of that name, with these arguments.
#define WATCHED(name, ...) \
  return watched(#name, [&] { return c10d::ProcessGroup::name(__VA_ARGS__); })

WatchedGroup::Work WatchedGroup::broadcast(Tensors& tensors,
                                           const c10d::BroadcastOptions& options) {
  WATCHED(broadcast, tensors, options);
}
WatchedGroup::Work WatchedGroup::allreduce(Tensors& tensors,
                                           const c10d::AllreduceOptions& options) {
  WATCHED(allreduce, tensors, options);
}
WatchedGroup::Work WatchedGroup::allreduce_coalesced(
    Tensors& tensors, const c10d::AllreduceCoalescedOptions& options) {
  WATCHED(allreduce_coalesced, tensors, options);
}
WatchedGroup::Work WatchedGroup::reduce(Tensors& tensors, const c10d::ReduceOptions& options) {
  WATCHED(reduce, tensors, options);
}
WatchedGroup::Work WatchedGroup::allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                                           const c10d::AllgatherOptions& options) {
  WATCHED(allgather, outputs, inputs, options);
}
WatchedGroup::Work WatchedGroup::all_gather_single(at::Tensor& output, at::Tensor& input,
                                                   const c10d::AllgatherOptions& options) {
  WATCHED(all_gather_single, output, input, options);
}
WatchedGroup::Work WatchedGroup::allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                                                     const c10d::AllgatherOptions& options) {
  WATCHED(allgather_coalesced, outputs, inputs, options);
}
WatchedGroup::Work WatchedGroup::all_gather_single_coalesced(
    Tensors& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) {
  WATCHED(all_gather_single_coalesced, outputs, inputs, options);
}
WatchedGroup::Work WatchedGroup::gather(std::vector<Tensors>& outputs, Tensors& inputs,
                                        const c10d::GatherOptions& options) {
  WATCHED(gather, outputs, inputs, options);
}
WatchedGroup::Work WatchedGroup::scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                         const c10d::ScatterOptions& options) {
  WATCHED(scatter, outputs, inputs, options);
}
WatchedGroup::Work WatchedGroup::reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                                const c10d::ReduceScatterOptions& options) {
  WATCHED(reduce_scatter, outputs, inputs, options);
}
WatchedGroup::Work WatchedGroup::reduce_scatter_single(at::Tensor& output, at::Tensor& input,
                                                       const c10d::ReduceScatterOptions& options) {
  WATCHED(reduce_scatter_single, output, input, options);
}
WatchedGroup::Work WatchedGroup::reduce_scatter_single_coalesced(
    Tensors& outputs, Tensors& inputs, const c10d::ReduceScatterOptions& options) {
  WATCHED(reduce_scatter_single_coalesced, outputs, inputs, options);
}
WatchedGroup::Work WatchedGroup::all_to_all_single(at::Tensor& output, at::Tensor& input,
                                                   std::vector<std::int64_t>& output_split_sizes,
                                                   std::vector<std::int64_t>& input_split_sizes,
                                                   const c10d::AllToAllOptions& options) {
  WATCHED(all_to_all_single, output, input, output_split_sizes, input_split_sizes, options);
}
WatchedGroup::Work WatchedGroup::alltoall(Tensors& outputs, Tensors& inputs,
                                          const c10d::AllToAllOptions& options) {
  WATCHED(alltoall, outputs, inputs, options);
}
WatchedGroup::Work WatchedGroup::send(Tensors& tensors, int peer, int tag) {
  check_peer("send", peer);
  WATCHED(send, tensors, peer, tag);
}
WatchedGroup::Work WatchedGroup::recv(Tensors& tensors, int peer, int tag) {
  check_peer("recv", peer);
  WATCHED(recv, tensors, peer, tag);
}
WatchedGroup::Work WatchedGroup::recvAnysource(Tensors& tensors, int tag) {
  WATCHED(recvAnysource, tensors, tag);
}
WatchedGroup::Work WatchedGroup::barrier(const c10d::BarrierOptions& options) {
  WATCHED(barrier, options);
}
#undef WATCHED

void WatchedGroup::monitoredBarrier(const c10d::BarrierOptions& options, bool wait_all_ranks) {
  check_open("monitoredBarrier");
  c10d::ProcessGroup::monitoredBarrier(options, wait_all_ranks);  // names ranks by itself
}

void WatchedGroup::shutdown() {
  is_shut_down_ = true;
  IndependentGroup::shutdown();
}

void WatchedGroup::abort() {
  is_shut_down_ = true;
  IndependentGroup::abort();
}

c10::intrusive_ptr<c10d::Backend::Options> WatchedGroup::new_options() const {
  return copy_options_(*getDefaultBackend()->getBackendOptions());
}

void WatchedGroup::meet(const std::string& name, int rank, int size) const {
  roll_call(c10::make_intrusive<c10d::PrefixStore>(str_cat(name, "/meet"), members_->store()), rank,
            size, members_->timeout());
}

void WatchedGroup::meet_merged(const Store& store, int rank, int size, milliseconds timeout) const {
  roll_call(c10::make_intrusive<c10d::PrefixStore>("meet", store), rank, size, timeout);
}

c10::intrusive_ptr<IndependentGroup> WatchedGroup::adopt(const dist2::ProcessGroup& group) const {
  const milliseconds timeout = group->getDefaultBackend()->getBackendOptions()->timeout;
  auto addresses = roll_call(group->getStore(), group->getRank(), group->getSize(), timeout);
  auto adopted = c10::make_intrusive<WatchedGroup>(
      group->getSize(),
      std::make_shared<const Members>(group->getGroupName(), group->getStore(), group->getRank(),
                                      std::move(addresses), timeout),
      copy_options_);
  take_over(group, adopted.get());
  return adopted;
}

}  // namespace polyrank::dist2
