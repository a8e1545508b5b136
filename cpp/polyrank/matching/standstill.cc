#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/agreement.h>
#include <polyrank/matching/standstill.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>
#include <utility>

namespace polyrank {

namespace {

std::string name_ranks(const std::vector<std::int64_t>& ranks, std::string_view noun = "rank") {
  return str_cat(noun, ranks.size() == 1 ? " " : "s ", RankSet::of(ranks).to_string());
}

// Participants who have not come. Empty for a receive that names no sender.
std::vector<std::int64_t> missing_of(const Meeting& meeting) {
  std::vector<std::int64_t> missing;
  for (std::size_t i = 0; i < meeting.participants.size(); ++i) {
    if (!meeting.launches[i] && meeting.participants[i] != Meeting::kAnyRank) {
      missing.push_back(meeting.participants[i]);
    }
  }
  std::sort(missing.begin(), missing.end());
  return missing;
}

std::string whom(const Meeting& meeting, std::string_view noun) {
  const std::vector<std::int64_t> missing = missing_of(meeting);
  return missing.empty() ? str_cat("any ", noun) : name_ranks(missing, noun);
}

// What a rank does, as one or as several ranks that do the same would say it.
std::string say(const RankActivity& activity, std::int64_t rank, bool is_one,
                std::string_view noun) {
  switch (activity.state) {
    case RankState::kRunning:
      return is_one ? "runs" : "run";
    case RankState::kWaiting:
      if (!activity.waits_for->event.empty()) {
        return str_cat(is_one ? "waits for " : "wait for ", activity.waits_for->event,
                       activity.waits_for->where(rank));
      }
      return str_cat(is_one ? "waits in " : "wait in ", activity.waits_for->describe(rank), " for ",
                     whom(*activity.waits_for, noun), activity.waits_for->where(rank));
    case RankState::kReturned:
      return is_one ? "has returned" : "have returned";
    case RankState::kFailed:
      return str_cat(is_one ? "has failed: " : "have failed: ", activity.failure);
  }
  return "";
}

// One line for all ranks that do the same, ordered by their lowest rank.
std::string describe_ranks(const MatchBoard& board, std::string_view noun) {
  constexpr std::size_t kShown = 16;
  std::map<std::string, std::vector<std::int64_t>> ranks_by_text;
  std::vector<std::string> texts;  // in order of their lowest rank
  for (std::int64_t rank = 0; rank < board.world_size(); ++rank) {
    const std::string text = say(board.activity(rank), rank, /*is_one=*/false, noun);
    auto& ranks = ranks_by_text[text];
    if (ranks.empty()) {
      texts.push_back(text);
    }
    ranks.push_back(rank);
  }
  std::ostringstream out;
  for (std::size_t i = 0; i < std::min(texts.size(), kShown); ++i) {
    const auto& ranks = ranks_by_text[texts[i]];
    const std::int64_t first = ranks.front();
    out << "  " << name_ranks(ranks, noun) << " "
        << say(board.activity(first), first, ranks.size() == 1, noun) << "\n";
  }
  if (texts.size() > kShown) {
    out << "  … and " << texts.size() - kShown << " other places\n";
  }
  return out.str();
}

// The rank to look at next: one that has ended explains most, then the lowest.
std::int64_t next_on_path(const MatchBoard& board, std::int64_t rank) {
  const std::vector<std::int64_t> missing = missing_of(*board.activity(rank).waits_for);
  const auto ended = std::find_if(missing.begin(), missing.end(), [&](std::int64_t other) {
    return board.activity(other).state != RankState::kWaiting;
  });
  if (ended != missing.end()) {
    return *ended;
  }
  return missing.empty() ? Meeting::kAnyRank : missing.front();
}

// "Cycle: rank 0 -> rank 1 -> rank 0.", or what the path from the first waiting rank ends at.
std::string describe_path(const MatchBoard& board, std::string_view noun) {
  std::int64_t rank = 0;
  while (board.activity(rank).state != RankState::kWaiting) {
    ++rank;
  }
  std::vector<std::int64_t> path;
  while (rank != Meeting::kAnyRank && board.activity(rank).state == RankState::kWaiting) {
    const auto seen = std::find(path.begin(), path.end(), rank);
    if (seen != path.end()) {
      std::ostringstream out;
      out << "Cycle: ";
      for (auto at = seen; at != path.end(); ++at) {
        out << noun << " " << *at << " -> ";
      }
      out << noun << " " << rank
          << ". Let all ranks take groups and messages in one order, or use async_op, isend and "
             "irecv and wait afterwards.";
      return out.str();
    }
    path.push_back(rank);
    rank = next_on_path(board, rank);
  }
  if (rank == Meeting::kAnyRank && !board.activity(path.back()).waits_for->event.empty()) {
    return str_cat("Nobody is left who could do what ", noun, " ", path.back(), " waits for.");
  }
  if (rank == Meeting::kAnyRank) {
    return str_cat("Nobody sends what ", noun, " ", path.back(), " waits to receive from any ",
                   noun, ".");
  }
  std::string subject(noun);
  subject.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(subject.front())));
  return str_cat(subject, " ", path.back(), " waits for ", noun, " ", rank, ", which has ",
                 board.activity(rank).state == RankState::kReturned ? "returned" : "failed",
                 ". Every rank of a group must launch what the others launch; look for a branch on "
                 "the rank, or for loops of different length.");
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
  return std::make_exception_ptr(CollectiveMismatchError(str_cat(
      "group \"", meeting.group->name, "\" (", name_ranks(meeting.group->members), "), ",
      meeting.is_message ? "tag " : "launch #", meeting.sequence, ": ", *found,
      missing.empty() ? std::string() : str_cat(" (", name_ranks(missing), " did not come.)"))));
}

std::exception_ptr explain_standstill(const MatchBoard& board, std::string_view noun) {
  for (const auto& meeting : board.open_meetings()) {
    if (const std::exception_ptr mismatch = explain_mismatch(*meeting)) {
      return mismatch;
    }
  }
  return std::make_exception_ptr(DeadlockError(str_cat(
      "no ", noun, " can proceed.\n", describe_ranks(board, noun), describe_path(board, noun))));
}

std::exception_ptr explain_timeout(const MatchBoard& board, std::int64_t rank,
                                   const Meeting& meeting, std::chrono::milliseconds timeout,
                                   std::string_view noun) {
  return std::make_exception_ptr(CollectiveError(str_cat(
      noun, " ", rank, " timed out after ", timeout.count(), " ms in ", meeting.describe(rank),
      ", waiting for ", whom(meeting, noun), ".\n", describe_ranks(board, noun),
      "Give the wait more time, or none: a wait that can't end is found without.")));
}

}  // namespace polyrank
