#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/host_memory.h>
#include <polyrank/exchange/written_versions.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/threads/threads_backend.h>
#include <polyrank/world/threads/threads_exchange.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace polyrank {

ThreadsBackend::ThreadsBackend(std::shared_ptr<RankThread> rank, const std::string& name,
                               const std::vector<std::int64_t>& members)
    : RankBackend(rank->rank(), name, members),
      rank_(std::move(rank)),
      group_(rank_->turns().join_group(name, members)) {}

void ThreadsBackend::check_caller(const CollectiveCall& call) const {
  const RankThread* caller = RankThread::current();
  if (caller == nullptr || !caller->is_of_rank(*rank_)) {
    const std::string who = caller == nullptr
                                ? std::string("a thread that is no rank, or whose run is over,")
                                : str_cat("rank ", caller->rank());
    throw CollectiveError(str_cat(
        who, " used rank ", rank_->rank(), "'s object of group \"", group_->name, "\" in ",
        to_string(call.spec->kind),
        ". Each rank has group objects of its own: keep them in what the rank's program makes, not "
        "in a module's global or a default argument, which all ranks share."));
  }
}

ThreadsBackend::AfterLaunch ThreadsBackend::begin_launch(const CollectiveCall& call) {
  check_caller(call);
  check(call);
  count_written_versions(call);
  AfterLaunch after;
  after.results = call.written();
  after.record = describe(call);
  if (call.is_async && !is_launched_by_library()) {
    after.in_flight = call.tensors();
  }
  return after;
}

TableBackend::Work ThreadsBackend::settle(Arrival arrival, AfterLaunch after,
                                          c10d::OpType op_type) {
  if (arrival.is_last) {
    std::exception_ptr error;
    try {
      carry_out(*arrival.meeting);
    } catch (...) {
      error = std::current_exception();
    }
    rank_->turns().finish(arrival.meeting, error);
  }
  std::vector<std::shared_ptr<Meeting>> meetings;
  if (after.waits) {
    meetings.push_back(arrival.meeting);
  }
  auto work = c10::make_intrusive<ThreadsWork>(rank_, std::move(meetings), std::move(after.results),
                                               op_type);
  std::optional<LaunchesInFlight::Id> in_flight;
  if (after.in_flight) {
    in_flight = rank_->in_flight().add(std::move(arrival.meeting), *after.in_flight);
  }
  note_launched(work, std::move(after.record), in_flight);
  return work;
}

// Whether several threads of the rank have launched in this group. Two that do so at once, as far
// as can be seen, are told at the end of the run: processes may take them in any order.
bool ThreadsBackend::note_thread(const Launch& launch) {
  const std::int64_t thread = RankThread::current()->thread();
  if (last_thread_ && *last_thread_ != thread) {
    has_several_threads_ = true;
    if (rank_->turns().is_launching(rank_->rank(), thread, *group_)) {
      rank_->turns().note(
          rank_->rank(),
          str_cat(to_string(launch), " was launched in group \"", group_->name,
                  "\" while another thread of the rank waited in one of the group: their order is "
                  "not defined. Give each thread a group of its own",
                  launch.where.empty() ? "" : "  ", launch.where));
    }
  }
  last_thread_ = thread;
  return has_several_threads_;
}

TableBackend::Work ThreadsBackend::launch(CollectiveCall call, c10d::OpType op_type) {
  return translating_errors([&]() -> Work {
    AfterLaunch after = begin_launch(call);
    ++sequence_number_;
    Launch launch = launch_of(call, source_line_text());
    launch.is_of_several_threads = note_thread(launch);
    move_to_host_memory(&call);
    const auto payload = std::make_shared<RankCall>(RankCall{std::move(call)});
    return settle(rank_->turns().arrive(rank_->rank(), group_, std::move(launch), payload),
                  std::move(after), op_type);
  });
}

TableBackend::Work ThreadsBackend::launch_message(CollectiveCall call, c10d::OpType op_type) {
  return translating_errors([&]() -> Work {
    AfterLaunch after = begin_launch(call);
    Launch launch = launch_of(call, source_line_text());
    const bool is_send = call.is_send.front();
    const std::int64_t peer = peer_of(call.peers);
    const std::int64_t tag = call.tags.front();
    after.waits = !is_send;
    move_to_host_memory(&call);
    const auto payload = std::make_shared<RankCall>(RankCall{std::move(call)});
    Arrival arrival =
        is_send
            ? rank_->turns().send(rank_->rank(), peer, tag, group_, std::move(launch), payload)
            : rank_->turns().receive(rank_->rank(), peer, tag, group_, std::move(launch), payload);
    if (is_send && !arrival.is_last) {  // the sender may go on and overwrite its tensor
      at::Tensor& sent = payload->call.units.front().inputs.front();
      sent = sent.detach().clone();
    }
    return settle(std::move(arrival), std::move(after), op_type);
  });
}

c10::intrusive_ptr<RankWork> ThreadsBackend::joined(const std::vector<Work>& works) const {
  auto all = c10::make_intrusive<ThreadsWork>(rank_, std::vector<std::shared_ptr<Meeting>>{},
                                              std::vector<at::Tensor>{}, c10d::OpType::COALESCED);
  for (const Work& work : works) {
    all->take_over(&static_cast<ThreadsWork&>(*work));
  }
  return all;
}

c10::intrusive_ptr<c10d::Backend> ThreadsBackend::make_group(
    const std::string& name, const std::vector<std::int64_t>& members) const {
  return c10::make_intrusive<ThreadsBackend>(rank_, name, members);
}

ThreadsWork::ThreadsWork(std::shared_ptr<RankThread> rank,
                         std::vector<std::shared_ptr<Meeting>> meetings,
                         std::vector<at::Tensor> results, c10d::OpType op_type)
    : RankWork(rank->rank(), {rank, &rank->in_flight()}, std::move(results), op_type),
      rank_(std::move(rank)),
      meetings_(std::move(meetings)) {}

void ThreadsWork::take_over(ThreadsWork* part) {
  RankWork::take_over(part);
  meetings_.insert(meetings_.end(), part->meetings_.begin(), part->meetings_.end());
}

// The thread of the rank that asks; where nobody has to wait, any will do.
RankThread& ThreadsWork::caller() const {
  RankThread* const calling = RankThread::current();
  if (calling != nullptr && calling->is_of_rank(*rank_)) {
    return *calling;
  }
  const auto is_done = [&](const auto& meeting) { return rank_->turns().is_done(*meeting); };
  if (!std::all_of(meetings_.begin(), meetings_.end(), is_done)) {
    throw CollectiveError(str_cat(
        "a thread that is not rank ", rank_->rank(), "'s waits for a collective of that rank, ",
        "which is not complete. Wait in the rank's program, or in a thread that it has started."));
  }
  return *rank_;
}

bool ThreadsWork::isCompleted() {
  const auto is_done = [&](const auto& meeting) { return rank_->turns().is_done(*meeting); };
  if (std::all_of(meetings_.begin(), meetings_.end(), is_done)) {
    note_seen();
    return true;
  }
  return translating_errors([&] {
    caller().yield();
    return std::all_of(meetings_.begin(), meetings_.end(), is_done);
  });
}

bool ThreadsWork::isSuccess() const {
  return std::all_of(meetings_.begin(), meetings_.end(), [&](const auto& meeting) {
    return rank_->turns().is_done(*meeting) && meeting->error == nullptr;
  });
}

bool ThreadsWork::wait(std::chrono::milliseconds timeout) {
  note_wait();
  note_seen();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  translating_errors([&] {
    for (const auto& meeting : meetings_) {
      if (timeout == kNoTimeout || rank_->turns().is_done(*meeting)) {
        caller().wait(meeting);
      } else {
        caller().wait_for(meeting, std::chrono::duration_cast<std::chrono::milliseconds>(
                                       deadline - std::chrono::steady_clock::now()));
      }
    }
  });
  return true;
}

int ThreadsWork::sourceRank() const {
  for (const auto& meeting : meetings_) {
    if (meeting->is_message) {
      const auto& members = meeting->group->members;
      const auto found = std::find(members.begin(), members.end(), meeting->participants.front());
      return static_cast<int>(found - members.begin());
    }
  }
  return -1;
}

}  // namespace polyrank
