#include <polyrank/core/str_cat.h>
#include <polyrank/matching/turn_watch.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>
#include <utility>

namespace polyrank {

namespace {

// Who is asleep at so many looks, one after the other, blocks. Who computes is seen running or
// ready to run, however busy the machine is.
constexpr int kNumLooks = 5;

// Whether all threads of a process wait for something; false for one that has ended.
bool is_asleep(pid_t process) {
  std::error_code gone;
  const std::filesystem::path threads = str_cat("/proc/", process, "/task");
  bool is_any = false;
  for (std::filesystem::directory_iterator thread(threads, gone), end; !gone && thread != end;
       thread.increment(gone)) {
    std::ifstream file(thread->path() / "stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    const std::size_t name_end = stat.rfind(") ");  // a name may hold anything
    if (name_end == std::string::npos) {
      continue;  // it has just ended
    }
    if (stat.substr(name_end + 2, 1) != "S") {
      return false;
    }
    is_any = true;
  }
  return is_any;
}

}  // namespace

TurnWatch::TurnWatch(std::shared_ptr<SharedRun> run, std::vector<pid_t> processes,
                     std::chrono::milliseconds longest)
    : run_(std::move(run)), processes_(std::move(processes)), longest_(longest) {}

std::optional<std::string> TurnWatch::look(Clock::time_point now) {
  if (now - looked_ < kLookEvery) {
    return std::nullopt;
  }
  const std::optional<SharedTurns::Turn> turn = run_->turn();
  if (!turn) {
    return std::nullopt;
  }
  looked_ = now;
  if (turn->number != number_) {
    number_ = turn->number;
    since_ = now;
    num_asleep_ = 0;
  }
  const bool sleeps = is_asleep(processes_[static_cast<std::size_t>(turn->rank)]);
  num_asleep_ = sleeps ? num_asleep_ + 1 : 0;
  if (num_asleep_ >= kNumLooks) {
    run_->end_turn(turn->number);
  } else if (now - since_ > longest_) {
    run_->end_turn(turn->number);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - since_).count();
    return str_cat("rank ", turn->rank, " has had the turn for ", seconds,
                   " s without waiting for another rank; the others go on beside it, and this run "
                   "may not repeat from here on\n");
  }
  return std::nullopt;
}

}  // namespace polyrank
