#include <malloc.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/profiled_launch.h>
#include <polyrank/exchange/written_versions.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/meeting_exchange.h>
#include <polyrank/world/processes/processes_backend.h>
#include <sched.h>

#include <algorithm>
#include <utility>

namespace polyrank {

namespace {

QuickGroup* join(RankProcess& rank, const std::string& name,
                 const std::vector<std::int64_t>& members) {
  rank.take_turn();
  return &rank.run().join_group(name, members);
}

// The launch as this process remembers it, when the meeting's own is gone.
std::shared_ptr<const Meeting> remembered(const Meeting& meeting, std::int64_t rank,
                                          const std::shared_ptr<const MeetingGroup>& group,
                                          Launch launch) {
  auto own = std::make_shared<Meeting>();
  own->group = group;
  own->is_message = meeting.is_message;
  own->sequence = meeting.sequence;
  own->participants = {rank};
  own->launches = {std::move(launch)};
  return own;
}

// An all_gather of N ranks is N x N tensors for the one that carries it out: 92 MiB at 512, which
// malloc would keep, in one rank of all.
constexpr std::size_t kManyGifts = std::size_t{1} << 16;

void return_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace

ProcessesBackend::ProcessesBackend(std::shared_ptr<RankProcess> rank, const std::string& name,
                                   const std::vector<std::int64_t>& members, std::string shown_as)
    : RankBackend(rank->rank(), name, members),
      rank_(std::move(rank)),
      group_(std::make_shared<const MeetingGroup>(MeetingGroup{name, members})),
      shown_as_(std::move(shown_as)),
      quick_(rank_, join(*rank_, name, members), getRank()) {}

void ProcessesBackend::check_caller(const CollectiveCall& call) const {
  if (!rank_->run().is_rank()) {
    throw CollectiveError(str_cat(
        "a process that rank ", rank_->rank(), " started used the rank's object of group \"",
        group_->name, "\" in ", to_string(call.spec->kind),
        ". It is no rank of the run: give what it has to its rank, or make a group of its own."));
  }
}

void ProcessesBackend::carry_out(const HeldMeeting& meeting) {
  SharedRun& run = rank_->run();
  std::shared_ptr<void> outcome;
  std::size_t num_gifts = 0;
  try {
    const BoardMemoryScope scope(&run.arena());
    auto folding = run.is_ordered() ? nullptr : begin_fold(*meeting);
    if (folding != nullptr) {
      SharedFold& fold = *folding->fold;
      run.share(meeting, std::move(folding));
      fold.help();
      fold.await([&] { run.check_not_failed(); });
    } else {
      std::shared_ptr<SharedOutcome> shared = carry_out_shared(*meeting);
      num_gifts = shared == nullptr ? 0 : shared->gifts.size();
      outcome = std::move(shared);
    }
  } catch (...) {
    run.finish_failed(meeting, fault_of(std::current_exception()));
    return;
  }
  run.finish(meeting, std::move(outcome));
  if (num_gifts >= kManyGifts) {
    return_free_memory();
  }
}

ProcessesBackend::Begun ProcessesBackend::begin(CollectiveCall call, c10d::OpType op_type) {
  check_caller(call);
  check(call);
  rank_->take_turn();
  rank_->settle_before(call);
  count_written_versions(call);
  CollectiveLaunch described = describe(call);
  std::function<void()> end_event = begin_profiled(shown_as_, op_type, call);
  return {.call = std::move(call),
          .op_type = op_type,
          .described = std::move(described),
          .end_event = std::move(end_event)};
}

// `launches`: what its Work waits for.
TableBackend::Work ProcessesBackend::end(Begun begun, std::vector<RankProcess::Pending> launches,
                                         std::optional<LaunchesInFlight::Id> in_flight) {
  auto work = c10::make_intrusive<ProcessesWork>(rank_, group_, std::move(launches),
                                                 begun.call.written(), begun.op_type);
  if (begun.end_event != nullptr) {
    work->at_end(std::move(begun.end_event));
  }
  note_launched(work, std::move(begun.described), in_flight);
  return work;
}

// `launch`: what is remembered of an asynchronous one.
TableBackend::Work ProcessesBackend::arrived(Begun begun, SharedArrival arrival,
                                             std::size_t participant, bool waits,
                                             std::optional<Launch> launch) {
  if (arrival.is_last) {
    carry_out(arrival.meeting);
  }
  std::optional<LaunchesInFlight::Id> in_flight;
  if (launch) {
    in_flight = rank_->in_flight().add(
        remembered(*arrival.meeting, rank_->rank(), group_, std::move(*launch)),
        begun.call.tensors());
  }
  std::vector<RankProcess::Pending> launches;
  if (waits) {
    launches.push_back(
        std::make_shared<PendingLaunch>(std::move(arrival.meeting), participant, begun.call.units));
    rank_->add(launches.back());
  }
  return end(std::move(begun), std::move(launches), in_flight);
}

// The launch of a collective or message. `come` brings it to its meeting.
template <class Come>
TableBackend::Work ProcessesBackend::come(CollectiveCall call, c10d::OpType op_type,
                                          std::size_t participant, bool waits, const Come& come) {
  Begun begun = begin(std::move(call), op_type);
  Launch launch = launch_of(begun.call, source_line_text());
  SharedArrival arrival = come(launch, [&] {
    const BelowAutogradGuard below_autograd;
    return share_call(begun.call, getRank());
  });
  const bool is_awaited = begun.call.is_async && !is_launched_by_library();
  return arrived(std::move(begun), std::move(arrival), participant, waits,
                 is_awaited ? std::optional(std::move(launch)) : std::nullopt);
}

TableBackend::Work ProcessesBackend::meet_quickly(CollectiveCall call, c10d::OpType op_type,
                                                  const QuickGift& gift) {
  Begun begun = begin(std::move(call), op_type);
  SharedRun::QuickEnd quick_end = quick_.meet(begun.call);
  Work work;
  if (quick_end.arrival) {
    work = arrived(std::move(begun), std::move(*quick_end.arrival),
                   static_cast<std::size_t>(getRank()), /*waits=*/true, std::nullopt);
  } else {
    quick_.take(gift, begun.call);
    work = end(std::move(begun), {}, std::nullopt);
  }
  if (quick_end.interrupt != nullptr) {
    std::rethrow_exception(quick_end.interrupt);
  }
  return work;
}

TableBackend::Work ProcessesBackend::launch(CollectiveCall call, c10d::OpType op_type) {
  return translating_errors([&]() -> Work {
    ++sequence_number_;
    const std::optional<QuickGift> gift = quick_gift(call, getRank(), getSize());
    if (gift && !is_coalescing() && quick_.is_there()) {
      return meet_quickly(std::move(call), op_type, *gift);
    }
    return come(std::move(call), op_type, static_cast<std::size_t>(getRank()), /*waits=*/true,
                [&](const Launch& launch, const SharedRun::MakePayload& make_payload) {
                  return rank_->run().arrive(group_, launch, make_payload);
                });
  });
}

TableBackend::Work ProcessesBackend::launch_message(CollectiveCall call, c10d::OpType op_type) {
  return translating_errors([&]() -> Work {
    constexpr std::size_t kSender = 0;
    constexpr std::size_t kReceiver = 1;
    const bool is_send = call.is_send.front();
    const std::vector<c10::SymInt> peers = call.peers;
    const std::int64_t tag = call.tags.front();
    return come(std::move(call), op_type, is_send ? kSender : kReceiver, /*waits=*/!is_send,
                [&](const Launch& launch, const SharedRun::MakePayload& make_payload) {
                  SharedRun& run = rank_->run();
                  const std::int64_t peer = peer_of(peers);  // which come() has checked
                  return is_send ? run.send(peer, tag, group_, launch, make_payload)
                                 : run.receive(peer, tag, group_, launch, make_payload);
                });
  });
}

c10::intrusive_ptr<RankWork> ProcessesBackend::joined(const std::vector<Work>& works) const {
  auto all = c10::make_intrusive<ProcessesWork>(rank_, group_, std::vector<RankProcess::Pending>{},
                                                std::vector<at::Tensor>{}, c10d::OpType::COALESCED);
  for (const Work& work : works) {
    all->take_over(&static_cast<ProcessesWork&>(*work));
  }
  return all;
}

c10::intrusive_ptr<c10d::Backend> ProcessesBackend::make_group(
    const std::string& name, const std::vector<std::int64_t>& members) const {
  return c10::make_intrusive<ProcessesBackend>(rank_, name, members, shown_as_);
}

ProcessesWork::ProcessesWork(std::shared_ptr<RankProcess> rank,
                             std::shared_ptr<const MeetingGroup> group,
                             std::vector<RankProcess::Pending> launches,
                             std::vector<at::Tensor> results, c10d::OpType op_type)
    : RankWork(rank->rank(), {rank, &rank->in_flight()}, std::move(results), op_type),
      rank_(std::move(rank)),
      group_(std::move(group)),
      launches_(std::move(launches)) {}

void ProcessesWork::take_over(ProcessesWork* part) {
  RankWork::take_over(part);
  launches_.insert(launches_.end(), part->launches_.begin(), part->launches_.end());
}

bool ProcessesWork::isCompleted() {
  if (!std::ranges::all_of(launches_, [](const auto& launch) { return launch->is_done(); })) {
    rank_->yield();  // asked for again and again, lets the others run
    sched_yield();
    return false;
  }
  note_seen();
  for (const auto& launch : launches_) {
    if (!launch->has_failed()) {
      rank_->settle(launch);
    }
  }
  return true;
}

bool ProcessesWork::isSuccess() const {
  return std::ranges::all_of(
      launches_, [](const auto& launch) { return launch->is_done() && !launch->has_failed(); });
}

bool ProcessesWork::wait(std::chrono::milliseconds timeout) {
  note_wait();
  note_seen();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  translating_errors([&] {
    for (const auto& launch : launches_) {
      std::optional<std::chrono::milliseconds> left;
      if (timeout != kNoTimeout) {
        left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
      }
      rank_->settle(launch, left);
    }
  });
  if (const std::function<void()> end_event = std::exchange(recordFunctionEndCallback_, nullptr)) {
    end_event();
  }
  return true;
}

int ProcessesWork::sourceRank() const {
  for (const auto& launch : launches_) {
    if (launch->is_message()) {
      const auto found = std::ranges::find(group_->members, launch->sender());
      return static_cast<int>(found - group_->members.begin());
    }
  }
  return -1;
}

}  // namespace polyrank
