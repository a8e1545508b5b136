#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/match_board.h>

#include <algorithm>
#include <utility>

namespace polyrank {

namespace {

void come(Meeting* meeting, std::size_t participant, Launch launch, std::shared_ptr<void> payload) {
  meeting->launches[participant] = std::move(launch);
  meeting->payloads[participant] = std::move(payload);
  ++meeting->num_arrived;
}

std::shared_ptr<Meeting> new_meeting(std::shared_ptr<const MeetingGroup> group,
                                     std::int64_t sequence, BoardList<std::int64_t> participants) {
  auto meeting = make_board_shared<Meeting>();
  meeting->group = std::move(group);
  meeting->sequence = sequence;
  meeting->launches.resize(participants.size());
  meeting->payloads.resize(participants.size());
  meeting->participants = std::move(participants);
  return meeting;
}

constexpr std::size_t kSender = 0;
constexpr std::size_t kReceiver = 1;

std::shared_ptr<Meeting> new_message(std::shared_ptr<const MeetingGroup> group, std::int64_t tag,
                                     std::int64_t sender, std::int64_t receiver) {
  auto meeting = new_meeting(std::move(group), tag, {sender, receiver});
  meeting->is_message = true;
  return meeting;
}

// Whether these can be two groups of one name.
bool are_apart(const BoardList<std::int64_t>& members, const std::vector<std::int64_t>& others) {
  return members.size() == 1 && others.size() == 1 && members.front() != others.front();
}

// Takes the first meeting that `fits` out of a queue; null if there is none.
template <class Queue, class Fits>
std::shared_ptr<Meeting> take_first(Queue* queue, Fits fits) {
  const auto found = std::find_if(queue->begin(), queue->end(),
                                  [&](const auto& meeting) { return fits(*meeting); });
  if (found == queue->end()) {
    return nullptr;
  }
  std::shared_ptr<Meeting> taken = std::move(*found);
  queue->erase(found);
  return taken;
}

// "0-2"; in the group's order where that is not ascending: "2,0,1".
std::string text_of_members(const std::vector<std::int64_t>& members) {
  if (std::ranges::is_sorted(members)) {
    return RankSet::of(members).to_string();
  }
  std::string text;
  for (const std::int64_t rank : members) {
    text += str_cat(text.empty() ? "" : ",", rank);
  }
  return text;
}

// The same words whoever made the group first, which is chance where ranks run side by side.
[[noreturn]] void throw_two_groups(const std::string& name, std::vector<std::int64_t> some,
                                   std::vector<std::int64_t> others) {
  if (others < some) {
    std::swap(some, others);
  }
  throw CollectiveMismatchError(
      str_cat("group \"", name, "\" is made with ranks ", text_of_members(some),
              " by some and with ranks ", text_of_members(others),
              " by others. All ranks must make the same groups in the same order."));
}

}  // namespace

const Launch* Meeting::launch_of(std::int64_t rank) const {
  const auto found = std::find(participants.begin(), participants.end(), rank);
  const auto index = static_cast<std::size_t>(found - participants.begin());
  return found != participants.end() && launches[index] ? &launches[index].value() : nullptr;
}

std::string Meeting::where(std::int64_t rank) const {
  const Launch* const launch = launch_of(rank);
  return launch == nullptr || launch->where.empty() ? "" : str_cat("  ", launch->where);
}

std::string Meeting::describe(std::int64_t rank) const {
  if (!event.empty()) {
    return event.str();
  }
  const Launch* const launch = launch_of(rank);
  const std::string what = launch != nullptr ? to_string(*launch) : std::string("a launch");
  return is_message ? str_cat(what, " (tag ", sequence, " in group \"", group->name, "\")")
                    : str_cat(what, " (launch #", sequence, " of group \"", group->name, "\")");
}

std::shared_ptr<Meeting> new_event(std::int64_t rank, const std::string& event,
                                   const std::string& where) {
  auto meeting = make_board_shared<Meeting>();
  meeting->participants = {rank};
  meeting->launches = {Launch{.where = where}};
  meeting->num_arrived = 1;
  meeting->event = event;
  return meeting;
}

MatchBoard::MatchBoard(std::int64_t world_size)
    : world_size_(world_size), num_running_(world_size) {
  if (world_size < 1) {
    throw UsageError(str_cat("a world has at least one rank; got world_size=", world_size));
  }
  for (std::int64_t rank = 0; rank < world_size; ++rank) {
    threads_.push_back({.rank = rank});
  }
}

std::shared_ptr<const MeetingGroup> MatchBoard::join_group(
    const std::string& name, const std::vector<std::int64_t>& members) {
  const auto known = groups_.find(std::string_view(name));
  if (known != groups_.end()) {
    for (const GroupState& other : known->second) {
      if (std::ranges::equal(other.group->members, members)) {
        return other.group;
      }
      if (!are_apart(other.group->members, members)) {
        throw_two_groups(name, {other.group->members.begin(), other.group->members.end()}, members);
      }
    }
  }
  GroupState state;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members[i] < 0 || members[i] >= world_size()) {
      throw UsageError(str_cat("group \"", name, "\" has rank ", members[i],
                               ", but the world has ranks 0-", world_size() - 1));
    }
    if (!state.member_of_rank.emplace(members[i], static_cast<std::int64_t>(i)).second) {
      throw UsageError(str_cat("group \"", name, "\" has rank ", members[i], " twice"));
    }
  }
  state.group = make_board_shared<const MeetingGroup>(
      MeetingGroup{name, BoardList<std::int64_t>(members.begin(), members.end())});
  state.num_launched.resize(members.size());
  BoardList<GroupState>& named = groups_[name];
  named.push_back(std::move(state));
  return named.back().group;
}

MatchBoard::GroupState& MatchBoard::state_of(const MeetingGroup& group) {
  const auto named = groups_.find(group.name);
  if (named != groups_.end()) {
    const auto found = std::ranges::find_if(named->second, [&](const GroupState& state) {
      return state.group->members.front() == group.members.front();
    });
    if (found != named->second.end()) {
      return *found;
    }
  }
  throw InternalError(str_cat("group \"", group.name, "\" is not known to this world"));
}

std::int64_t MatchBoard::member_index(const GroupState& state, std::int64_t rank) const {
  const auto member = state.member_of_rank.find(rank);
  if (member == state.member_of_rank.end()) {
    throw UsageError(str_cat("rank ", rank, " is not in group \"", state.group->name, "\" (ranks ",
                             RankSet::of(state.group->members).to_string(),
                             "). Only its members may name a group."));
  }
  return member->second;
}

std::optional<std::int64_t> MatchBoard::level(const MeetingGroup& group) {
  const GroupState& state = state_of(group);
  return state.open.empty() ? std::optional(state.first_open) : std::nullopt;
}

void MatchBoard::set_level(const MeetingGroup& group, std::int64_t num_met) {
  GroupState& state = state_of(group);
  std::ranges::fill(state.num_launched, num_met);
  state.first_open = num_met;
}

std::shared_ptr<Meeting> MatchBoard::arrive(std::int64_t rank,
                                            const std::shared_ptr<const MeetingGroup>& group,
                                            Launch launch, std::shared_ptr<void> payload) {
  GroupState& state = state_of(*group);
  const auto member = static_cast<std::size_t>(member_index(state, rank));
  const std::int64_t sequence = state.num_launched[member]++;
  const auto position = static_cast<std::size_t>(sequence - state.first_open);
  if (position == state.open.size()) {
    state.open.push_back(new_meeting(state.group, sequence, state.group->members));
  }
  std::shared_ptr<Meeting> meeting = state.open[position];
  come(meeting.get(), member, std::move(launch), std::move(payload));
  // Members come to a group's meetings in order, so the first one completes first.
  if (meeting->is_complete()) {
    state.open.pop_front();
    ++state.first_open;
  }
  return meeting;
}

std::shared_ptr<Meeting> MatchBoard::send(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                                          const std::shared_ptr<const MeetingGroup>& group,
                                          Launch launch, std::shared_ptr<void> payload) {
  const GroupState& state = state_of(*group);
  member_index(state, rank);
  member_index(state, peer);
  const auto box = mailboxes_.try_emplace({group->name, peer, tag}).first;
  auto meeting = take_first(&box->second.wanted, [&](const Meeting& wanted) {
    const std::int64_t sender = wanted.participants[kSender];
    return sender == rank || sender == Meeting::kAnyRank;
  });
  if (meeting == nullptr) {
    meeting = new_message(state.group, tag, rank, peer);
    box->second.sent.push_back(meeting);
  } else {
    meeting->participants[kSender] = rank;
    if (box->second.wanted.empty() && box->second.sent.empty()) {
      mailboxes_.erase(box);
    }
  }
  come(meeting.get(), kSender, std::move(launch), std::move(payload));
  return meeting;
}

std::shared_ptr<Meeting> MatchBoard::receive(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                                             const std::shared_ptr<const MeetingGroup>& group,
                                             Launch launch, std::shared_ptr<void> payload) {
  const GroupState& state = state_of(*group);
  member_index(state, rank);
  if (peer != Meeting::kAnyRank) {
    member_index(state, peer);
  }
  const auto box = mailboxes_.try_emplace({group->name, rank, tag}).first;
  auto meeting = take_first(&box->second.sent, [&](const Meeting& sent) {
    return peer == Meeting::kAnyRank || sent.participants[kSender] == peer;
  });
  if (meeting == nullptr) {
    meeting = new_message(state.group, tag, peer, rank);
    box->second.wanted.push_back(meeting);
  } else if (box->second.wanted.empty() && box->second.sent.empty()) {
    mailboxes_.erase(box);
  }
  come(meeting.get(), kReceiver, std::move(launch), std::move(payload));
  return meeting;
}

std::int64_t MatchBoard::add_thread(std::int64_t rank) {
  const auto ended = std::find_if(threads_.begin(), threads_.end(),
                                  [](const Thread& thread) { return thread.has_ended; });
  const std::int64_t number = ended - threads_.begin();
  if (ended == threads_.end()) {
    threads_.push_back({.rank = rank});
  } else {
    *ended = {.rank = rank};
  }
  ++num_running_;
  return number;
}

void MatchBoard::remove_thread(std::int64_t thread) {
  set_returned(thread);
  threads_[static_cast<std::size_t>(thread)].has_ended = true;
}

std::vector<std::int64_t> MatchBoard::threads_of(std::int64_t rank) const {
  std::vector<std::int64_t> numbers;
  for (std::int64_t thread = world_size_; thread < end_of_threads(); ++thread) {
    const Thread& known = threads_[static_cast<std::size_t>(thread)];
    if (known.rank == rank && !known.has_ended) {
      numbers.push_back(thread);
    }
  }
  return numbers;
}

void MatchBoard::set_activity(std::int64_t thread, RankActivity activity) {
  RankActivity& current = threads_[static_cast<std::size_t>(thread)].activity;
  const auto count = [&](std::int64_t step) {
    const bool waits = current.state == RankState::kWaiting;
    const bool may_go_on = waits && current.other_end != OtherEnd::kNone;
    num_running_ += current.state == RankState::kRunning || may_go_on ? step : 0;
    num_waiting_ += waits && !may_go_on ? step : 0;
  };
  count(-1);
  current = std::move(activity);
  count(1);
}

void MatchBoard::set_running(std::int64_t thread) { set_activity(thread, RankActivity{}); }

void MatchBoard::set_waiting(std::int64_t thread, std::shared_ptr<const Meeting> meeting,
                             OtherEnd other_end) {
  set_activity(thread, RankActivity{.state = RankState::kWaiting,
                                    .waits_for = std::move(meeting),
                                    .other_end = other_end});
}

void MatchBoard::set_returned(std::int64_t thread) {
  set_activity(thread, RankActivity{.state = RankState::kReturned});
}

void MatchBoard::set_failed(std::int64_t thread, std::string failure) {
  set_activity(thread, RankActivity{.state = RankState::kFailed, .failure = std::move(failure)});
}

std::vector<std::shared_ptr<const Meeting>> MatchBoard::open_meetings() const {
  std::vector<std::shared_ptr<const Meeting>> meetings;
  for (const auto& [name, states] : groups_) {
    for (const GroupState& state : states) {
      meetings.insert(meetings.end(), state.open.begin(), state.open.end());
    }
  }
  for (const auto& [key, box] : mailboxes_) {
    std::vector<std::shared_ptr<const Meeting>> sent(box.sent.begin(), box.sent.end());
    std::stable_sort(sent.begin(), sent.end(), [](const auto& a, const auto& b) {
      return a->participants[kSender] < b->participants[kSender];
    });
    meetings.insert(meetings.end(), sent.begin(), sent.end());
  }
  return meetings;
}

}  // namespace polyrank
