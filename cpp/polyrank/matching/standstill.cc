#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/agreement.h>
#include <polyrank/matching/standstill.h>
#include <polyrank/matching/thread_lines.h>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <utility>

namespace polyrank {

namespace {

// Of a first thread that runs, as far as the board knows, where no thread can go on.
constexpr std::string_view kSleeps = "sleeps until another thread of its own wakes it";

// The rank to look at next: one that has ended explains most, then the lowest.
std::int64_t next_on_path(const MatchBoard& board, std::int64_t thread) {
  const std::vector<std::int64_t> missing = missing_of(*board.activity(thread).waits_for);
  const auto ended = std::find_if(missing.begin(), missing.end(), [&](std::int64_t other) {
    return board.activity(other).state != RankState::kWaiting;
  });
  if (ended != missing.end()) {
    return *ended;
  }
  return missing.empty() ? Meeting::kAnyRank : missing.front();
}

// The number of the first thread that waits: of a rank's first one, if any does.
std::int64_t first_waiting(const MatchBoard& board) {
  std::int64_t thread = 0;
  while (board.activity(thread).state != RankState::kWaiting) {
    ++thread;
  }
  return thread;
}

std::string describe_cycle(std::span<const std::int64_t> ranks, std::string_view noun) {
  std::ostringstream out;
  out << "Cycle: ";
  for (const std::int64_t rank : ranks) {
    out << noun << " " << rank << " -> ";
  }
  out << noun << " " << ranks.front()
      << ". Let all ranks take groups and messages in one order, or use async_op, isend and irecv "
         "and wait afterwards.";
  return out.str();
}

// What the rank does that a path ends at.
std::string_view say_end(RankState state) {
  switch (state) {
    case RankState::kReturned:
      return "has returned";
    case RankState::kFailed:
      return "has failed";
    default:
      return kSleeps;
  }
}

// "Cycle: rank 0 -> rank 1 -> rank 0.", or what the path from the first waiting thread ends at.
std::string describe_path(const MatchBoard& board, std::string_view noun) {
  std::vector<std::int64_t> path{first_waiting(board)};  // threads; after the first one, ranks
  const auto waits = [&](std::int64_t rank) {
    return rank != Meeting::kAnyRank && board.activity(rank).state == RankState::kWaiting;
  };
  std::int64_t rank = next_on_path(board, path.back());
  for (; waits(rank); rank = next_on_path(board, rank)) {
    const auto seen = std::ranges::find(path, rank);
    if (seen != path.end()) {
      return describe_cycle({seen, path.end()}, noun);
    }
    path.push_back(rank);
  }
  const std::int64_t last = path.back();
  const std::string who =
      str_cat(last < board.world_size() ? "" : "a thread of ", noun, " ", board.rank_of(last));
  if (rank == Meeting::kAnyRank) {
    return board.activity(last).waits_for->event.empty()
               ? str_cat("Nobody sends what ", who, " waits to receive from any ", noun, ".")
               : str_cat("Nobody is left who could do what ", who, " waits for.");
  }
  std::string subject = who;
  subject.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(subject.front())));
  const RankState state = board.activity(rank).state;
  return str_cat(subject, " waits for ", noun, " ", rank, ", which ", say_end(state),
                 state == RankState::kRunning
                     ? ". None of its threads can do that: all sleep."
                     : ". Every rank of a group must launch what the others launch; look for a "
                       "branch on the rank, or for loops of different length.");
}

std::vector<RankLaunch> launches_of(const Meeting& meeting) {
  std::vector<RankLaunch> launches;
  for (std::size_t i = 0; i < meeting.participants.size(); ++i) {
    if (const std::optional<Launch>& launch = meeting.launches[i]) {
      launches.push_back({meeting.participants[i], &*launch});
    }
  }
  return launches;
}

// A message that does not fit the buffer that it is received into.
std::optional<std::string> message_disagreement(const std::vector<RankLaunch>& launches) {
  if (launches.size() < 2) {
    return std::nullopt;
  }
  const auto& sent = launches[0].launch->inputs;
  const auto& wanted = launches[1].launch->outputs;
  const bool fits = sent.size() == wanted.size() &&
                    std::equal(sent.begin(), sent.end(), wanted.begin(),
                               [](const TensorShape& a, const TensorShape& b) {
                                 return a.dtype == b.dtype && a.numel() == b.numel();
                               });
  if (fits) {
    return std::nullopt;
  }
  return str_cat("the message does not fit.\n", sides(launches),
                 "The receiver's tensor must have the dtype and number of elements of the "
                 "sender's.");
}

}  // namespace

std::exception_ptr explain_mismatch(const Meeting& meeting) {
  const std::vector<RankLaunch> launches = launches_of(meeting);
  const auto found =
      meeting.is_message
          ? message_disagreement(launches)
          : disagreement(launches, static_cast<std::int64_t>(meeting.participants.size()));
  if (!found) {
    return nullptr;
  }
  const std::vector<std::int64_t> missing = missing_of(meeting);
  std::vector<std::int64_t> with_threads;
  for (const auto& [rank, launch] : launches) {
    if (launch->is_of_several_threads) {
      with_threads.push_back(rank);
    }
  }
  return std::make_exception_ptr(CollectiveMismatchError(str_cat(
      "group \"", meeting.group->name, "\" (", name_ranks(meeting.group->members), "), ",
      meeting.is_message ? "tag " : "launch #", meeting.sequence, ": ", *found,
      missing.empty() ? std::string() : str_cat(" (", name_ranks(missing), " did not come.)"),
      with_threads.empty()
          ? std::string()
          : str_cat(" Several threads of ", name_ranks(with_threads),
                    " launched in this group, in an order that nothing defines: give each thread "
                    "a group of its own."))));
}

std::exception_ptr explain_standstill(const MatchBoard& board, std::string_view noun) {
  for (const auto& meeting : board.open_meetings()) {
    if (const std::exception_ptr mismatch = explain_mismatch(*meeting)) {
      return mismatch;
    }
  }
  const auto say_sleeping = [](std::int64_t /*thread*/, bool is_one) {
    return is_one ? std::string(kSleeps) : "sleep until another thread of their own wakes them";
  };
  return std::make_exception_ptr(DeadlockError(str_cat("no ", noun, " can proceed.\n",
                                                       describe_threads(board, noun, say_sleeping),
                                                       describe_path(board, noun))));
}

namespace {

// What ProcessGroupGloo::monitoredBarrier says, in group ranks, which programs look for.
std::string text_of_monitored_barrier(const Meeting& meeting, std::int64_t rank,
                                      std::chrono::milliseconds timeout) {
  const auto place_of = [&](std::int64_t member) {
    return std::ranges::find(meeting.participants, member) - meeting.participants.begin();
  };
  const auto place = place_of(rank);
  if (place != 0) {
    return str_cat("Rank ", place,
                   " successfully reached monitoredBarrier, but received errors while waiting for "
                   "send/recv from rank 0. ");
  }
  std::ostringstream late;
  const std::vector<std::int64_t> missing = missing_of(meeting);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    late << (i == 0 ? "" : ", ") << place_of(missing[i]);
  }
  return str_cat("Rank 0 timed out in monitoredBarrier: ", missing.size() == 1 ? "Rank " : "Ranks ",
                 late.str(), " failed to pass monitoredBarrier in ", timeout.count(), " ms. ");
}

}  // namespace

std::exception_ptr explain_timeout(const MatchBoard& board, std::int64_t rank,
                                   const Meeting& meeting, std::chrono::milliseconds timeout,
                                   std::string_view noun) {
  const Launch* const launch = meeting.launch_of(rank);
  const bool is_monitored = launch != nullptr && launch->kind == CollectiveKind::kMonitoredBarrier;
  return std::make_exception_ptr(CollectiveError(str_cat(
      is_monitored ? text_of_monitored_barrier(meeting, rank, timeout) : std::string(), noun, " ",
      rank, " timed out after ", timeout.count(), " ms in ", meeting.describe(rank),
      ", waiting for ", whom(meeting, noun), ".\n", describe_threads(board, noun),
      "Give the wait more time, or none: a wait that can't end is found without.")));
}

std::exception_ptr explain_failure(std::int64_t rank, std::string_view failure,
                                   std::string_view noun) {
  return std::make_exception_ptr(
      CollectiveError(str_cat(noun, " ", rank, " failed, so the run ends: ", failure)));
}

std::string describe_leftovers(const MatchBoard& board, const RankNotes& notes) {
  std::ostringstream out;
  for (const auto& meeting : board.open_meetings()) {
    for (std::size_t i = 0; i < meeting->participants.size(); ++i) {
      if (!meeting->launches[i]) {
        continue;
      }
      const std::int64_t rank = meeting->participants[i];
      out << "  rank " << rank << ": " << meeting->describe(rank)
          << (meeting->is_message ? " was never received" : " was never joined by all members")
          << meeting->where(rank) << "\n";
    }
  }
  for (const auto& [line, ranks] : notes) {
    out << "  " << name_ranks(ranks) << ": " << line << "\n";
  }
  return out.str();
}

}  // namespace polyrank
