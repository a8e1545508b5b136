#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/exchange/profiled_launch.h>
#include <polyrank/report/call_site.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/meeting_exchange.h>
#include <polyrank/world/processes/processes_backend.h>
#include <sched.h>

#include <algorithm>
#include <utility>

namespace polyrank {

namespace {

int place_of(std::int64_t rank, const std::string& name, const std::vector<std::int64_t>& members) {
  const auto found = std::find(members.begin(), members.end(), rank);
  if (found == members.end()) {
    throw UsageError(
        str_cat("rank ", rank, " is not in group \"", name, "\", so it can't make it"));
  }
  return static_cast<int>(found - members.begin());
}

std::shared_ptr<const MeetingGroup> join(SharedRun& run, const std::string& name,
                                         const std::vector<std::int64_t>& members) {
  run.join_group(name, members);
  return std::make_shared<const MeetingGroup>(MeetingGroup{name, members});
}

std::vector<at::Tensor> inputs_of(const CollectiveCall& call) {
  std::vector<at::Tensor> inputs;
  for (const CollectiveUnit& unit : call.units) {
    inputs.insert(inputs.end(), unit.inputs.begin(), unit.inputs.end());
  }
  return inputs;
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

}  // namespace

ProcessesBackend::ProcessesBackend(std::shared_ptr<RankProcess> rank, const std::string& name,
                                   const std::vector<std::int64_t>& members, std::string shown_as)
    : TableBackend(place_of(rank->rank(), name, members), static_cast<int>(members.size())),
      rank_(std::move(rank)),
      group_(join(rank_->run(), name, members)),
      launch_group_(std::make_shared<const LaunchGroup>(
          LaunchGroup{.name = name,
                      .label = name,
                      .size = static_cast<std::int64_t>(members.size()),
                      .num_groups = 1,
                      .ranks = RankRuns::of(members)})),
      shown_as_(std::move(shown_as)) {}

std::int64_t ProcessesBackend::global_rank_of(std::int64_t group_rank) const {
  if (group_rank < 0 || group_rank >= getSize()) {
    throw CollectiveError(str_cat("group \"", group_->name, "\" has no group rank ", group_rank,
                                  "; valid: 0..", getSize() - 1));
  }
  return group_->members[static_cast<std::size_t>(group_rank)];
}

void ProcessesBackend::check_open(const CollectiveCall& call) const {
  if (!rank_->run().is_rank()) {
    throw CollectiveError(str_cat(
        "a process that rank ", rank_->rank(), " started used the rank's object of group \"",
        group_->name, "\" in ", to_string(call.spec->kind),
        ". It is no rank of the run: give what it has to its rank, or make a group of its own."));
  }
  if (is_shut_down_) {
    throw CollectiveError(str_cat("group \"", group_->name, "\", rank ", rank_->rank(), ": ",
                                  to_string(call.spec->kind),
                                  " after the group was shut down. Make a new group."));
  }
  if (has_root(call.spec->kind)) {
    global_rank_of(call.root);
  }
}

LaunchId ProcessesBackend::record(const CollectiveCall& call) const {
  CollectiveLaunch launch{
      .kind = call.spec->kind, .group = launch_group_, .num_groups = 1, .num_computed = 1};
  for (const CollectiveUnit& unit : call.units) {
    for (const at::Tensor& input : unit.inputs) {
      launch.input_bytes += input.numel() * static_cast<std::int64_t>(input.element_size());
    }
  }
  if (collective_record().is_tracing()) {
    launch.cohorts = RankPartition::uniform(RankSet::range(rank_->rank(), rank_->rank() + 1));
    add_details(call, {}, &launch);
  }
  return collective_record().launch(std::move(launch));
}

void ProcessesBackend::carry_out(const HeldMeeting& meeting) {
  SharedRun& run = rank_->run();
  std::shared_ptr<void> outcome;
  try {
    const BoardMemoryScope scope(&run.arena());
    if (auto folding = begin_fold(*meeting)) {
      SharedFold& fold = *folding->fold;
      run.share(meeting, std::move(folding));
      fold.help();
      fold.await([&] { run.check_not_failed(); });
    } else {
      outcome = carry_out_shared(*meeting);
    }
  } catch (...) {
    run.finish_failed(meeting, fault_of(std::current_exception()));
    return;
  }
  run.finish(meeting, std::move(outcome));
}

// The launch of a collective or message. `come` brings it to its meeting.
template <class Come>
TableBackend::Work ProcessesBackend::come(CollectiveCall call, c10d::OpType op_type,
                                          std::size_t participant, bool waits, const Come& come) {
  check_open(call);
  rank_->settle_before(call);
  const LaunchId traced = record(call);
  std::function<void()> end_event = begin_profiled(shown_as_, op_type, inputs_of(call));
  Launch launch = launch_of(call, source_line_text());
  std::shared_ptr<void> payload;
  {
    const BelowAutogradGuard below_autograd;
    const BoardMemoryScope scope(&rank_->run().arena());
    payload = share_call(call, getRank());
  }
  SharedArrival arrival = come(launch, std::move(payload));
  if (arrival.is_last) {
    carry_out(arrival.meeting);
  }
  std::optional<LaunchesInFlight::Id> in_flight;
  if (call.is_async) {
    in_flight = rank_->in_flight().add(
        remembered(*arrival.meeting, rank_->rank(), group_, std::move(launch)), call.tensors());
  }
  std::vector<RankProcess::Pending> launches;
  std::vector<at::Tensor> results = call.written();
  if (waits) {
    launches.push_back(std::make_shared<PendingLaunch>(std::move(arrival.meeting), participant,
                                                       std::move(call.units)));
    rank_->add(launches.back());
  }
  auto work = c10::make_intrusive<ProcessesWork>(rank_, group_, std::move(launches),
                                                 std::move(results), op_type);
  if (end_event != nullptr) {
    work->at_end(std::move(end_event));
  }
  if (in_flight) {
    work->add_launch(traced);
    work->add_in_flight(*in_flight);
  }
  if (coalesced_) {
    coalesced_->emplace_back(work);
  }
  return work;
}

TableBackend::Work ProcessesBackend::launch(CollectiveCall call, c10d::OpType op_type) {
  return translating_errors([&]() -> Work {
    ++sequence_number_;
    return come(std::move(call), op_type, static_cast<std::size_t>(getRank()), /*waits=*/true,
                [&](const Launch& launch, std::shared_ptr<void> payload) {
                  return rank_->run().arrive(group_, launch, std::move(payload));
                });
  });
}

TableBackend::Work ProcessesBackend::launch_message(CollectiveCall call, c10d::OpType op_type) {
  return translating_errors([&]() -> Work {
    constexpr std::size_t kSender = 0;
    constexpr std::size_t kReceiver = 1;
    const bool is_send = call.is_send.front();
    const std::int64_t peer =
        call.peers.empty() ? Meeting::kAnyRank : global_rank_of(call.peers.front().expect_int());
    const std::int64_t tag = call.tags.front();
    return come(std::move(call), op_type, is_send ? kSender : kReceiver, /*waits=*/!is_send,
                [&](const Launch& launch, std::shared_ptr<void> payload) {
                  SharedRun& run = rank_->run();
                  return is_send ? run.send(peer, tag, group_, launch, std::move(payload))
                                 : run.receive(peer, tag, group_, launch, std::move(payload));
                });
  });
}

TableBackend::Work ProcessesBackend::endCoalescing() {
  auto all = c10::make_intrusive<ProcessesWork>(rank_, group_, std::vector<RankProcess::Pending>{},
                                                std::vector<at::Tensor>{}, c10d::OpType::COALESCED);
  for (const Work& work : coalesced_.value_or(std::vector<Work>{})) {
    all->take_over(&static_cast<ProcessesWork&>(*work));
  }
  coalesced_.reset();
  return all;
}

c10::intrusive_ptr<c10d::Backend::Options> ProcessesBackend::getBackendOptions() {
  return c10::make_intrusive<Options>("processes");
}

c10::intrusive_ptr<c10d::Backend> ProcessesBackend::split(
    const c10::intrusive_ptr<c10d::Store>& /*store*/, const std::vector<int>& ranks,
    const c10::intrusive_ptr<Options>& options) {
  return translating_errors([&]() -> c10::intrusive_ptr<c10d::Backend> {
    std::vector<std::int64_t> members;
    members.reserve(ranks.size());
    for (const int group_rank : ranks) {
      members.push_back(global_rank_of(group_rank));
    }
    if (std::find(members.begin(), members.end(), rank_->rank()) == members.end()) {
      return {};
    }
    return c10::make_intrusive<ProcessesBackend>(rank_, options->group_name, members, shown_as_);
  });
}

c10::intrusive_ptr<c10d::Backend> ProcessesBackend::merge(
    const c10::intrusive_ptr<c10d::Store>& store, const c10::intrusive_ptr<Options>& options,
    const int& rank, const int& size) {
  return translating_errors([&]() -> c10::intrusive_ptr<c10d::Backend> {
    const MergedGroup merged =
        meet_in_store(*store, options->group_name, rank_->rank(), rank, size);
    return c10::make_intrusive<ProcessesBackend>(rank_, merged.name, merged.members, shown_as_);
  });
}

ProcessesWork::ProcessesWork(std::shared_ptr<RankProcess> rank,
                             std::shared_ptr<const MeetingGroup> group,
                             std::vector<RankProcess::Pending> launches,
                             std::vector<at::Tensor> results, c10d::OpType op_type)
    : RecordedWork(static_cast<int>(rank->rank()), op_type),
      rank_(std::move(rank)),
      group_(std::move(group)),
      launches_(std::move(launches)),
      results_(std::move(results)) {}

void ProcessesWork::take_over(ProcessesWork* part) {
  launches_.insert(launches_.end(), part->launches_.begin(), part->launches_.end());
  results_.insert(results_.end(), part->results_.begin(), part->results_.end());
  for (const LaunchId launch : part->launches()) {
    add_launch(launch);
  }
  in_flight_.insert(in_flight_.end(), part->in_flight_.begin(), part->in_flight_.end());
  part->in_flight_.clear();
}

void ProcessesWork::note_seen() {
  for (const LaunchesInFlight::Id id : in_flight_) {
    rank_->in_flight().waited(id);
  }
  in_flight_.clear();
}

bool ProcessesWork::isCompleted() {
  if (!std::ranges::all_of(launches_, [](const auto& launch) { return launch->is_done(); })) {
    sched_yield();  // asked for again and again, lets the others run
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

c10::intrusive_ptr<c10::ivalue::Future> ProcessesWork::getFuture() {
  wait(kNoTimeout);
  auto future =
      c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
  future->markCompleted(c10::IValue(results_));
  return future;
}

}  // namespace polyrank
