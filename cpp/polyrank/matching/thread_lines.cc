#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/thread_lines.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

namespace polyrank {

namespace {

// What a thread does, as one or as several that do the same would say it.
std::string say(const MatchBoard& board, std::int64_t thread, bool is_one, std::string_view noun,
                const SayRunning& say_running) {
  const RankActivity& activity = board.activity(thread);
  switch (activity.state) {
    case RankState::kRunning: {
      const std::string said = say_running == nullptr ? "" : say_running(thread, is_one);
      return !said.empty() ? said : is_one ? "runs" : "run";
    }
    case RankState::kWaiting: {
      const Meeting& meeting = *activity.waits_for;
      const std::string where = meeting.where(board.rank_of(thread));
      if (!meeting.event.empty()) {
        return str_cat(is_one ? "waits for " : "wait for ", meeting.event, where);
      }
      return str_cat(is_one ? "waits in " : "wait in ", meeting.describe(board.rank_of(thread)),
                     " for ", whom(meeting, noun), where);
    }
    case RankState::kReturned:
      return is_one ? "has returned" : "have returned";
    case RankState::kFailed:
      return str_cat(is_one ? "has failed: " : "have failed: ", activity.failure);
  }
  return "";
}

// Threads that do the same, by what they do, in the order of the first of each.
class Groups {
 public:
  void add(std::int64_t thread, const std::string& text) {
    const auto [found, is_new] = index_.try_emplace(text, threads_.size());
    if (is_new) {
      threads_.emplace_back();
    }
    threads_[found->second].push_back(thread);
  }
  const std::vector<std::vector<std::int64_t>>& threads() const noexcept { return threads_; }

 private:
  std::map<std::string, std::size_t> index_;
  std::vector<std::vector<std::int64_t>> threads_;
};

std::vector<std::int64_t> ranks_of(const MatchBoard& board,
                                   const std::vector<std::int64_t>& threads) {
  std::vector<std::int64_t> ranks;
  ranks.reserve(threads.size());
  for (const std::int64_t thread : threads) {
    ranks.push_back(board.rank_of(thread));
  }
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

}  // namespace

std::string name_ranks(std::span<const std::int64_t> ranks, std::string_view noun) {
  return str_cat(noun, ranks.size() == 1 ? " " : "s ", RankSet::of(ranks).to_string());
}

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

std::string describe_threads(const MatchBoard& board, std::string_view noun,
                             const SayRunning& say_running) {
  constexpr std::size_t kShown = 16;
  Groups first;
  Groups started;
  for (std::int64_t rank = 0; rank < board.world_size(); ++rank) {
    first.add(rank, say(board, rank, /*is_one=*/false, noun, say_running));
  }
  for (std::int64_t rank = 0; rank < board.world_size(); ++rank) {
    for (const std::int64_t thread : board.threads_of(rank)) {
      started.add(thread, say(board, thread, /*is_one=*/false, noun, say_running));
    }
  }
  std::ostringstream out;
  std::size_t num_left_out = 0;
  const auto write = [&](const Groups& groups, bool are_started) {
    for (std::size_t i = 0; i < groups.threads().size(); ++i) {
      const std::vector<std::int64_t>& threads = groups.threads()[i];
      if (i >= kShown) {
        ++num_left_out;
        continue;
      }
      const bool is_one = threads.size() == 1;
      out << "  "
          << (!are_started ? ""
              : is_one     ? "a thread of "
                           : "threads of ")
          << name_ranks(ranks_of(board, threads), noun) << " "
          << say(board, threads.front(), is_one, noun, say_running) << "\n";
    }
  };
  write(first, /*are_started=*/false);
  write(started, /*are_started=*/true);
  if (num_left_out > 0) {
    out << "  … and " << num_left_out << " other places\n";
  }
  return out.str();
}

}  // namespace polyrank
