#include <fcntl.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/processes/salted_launchers.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace polyrank {

namespace {

std::unique_ptr<SaltedLauncher>& own() {
  static auto* const launcher = new std::unique_ptr<SaltedLauncher>();
  return *launcher;
}

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  _exit(1);
}

// The environment as the command was given it, except for the salt.
void take_back_variables(std::int64_t number) {
  unsetenv(SaltedLauncher::kVariable);
  const char* const before = std::getenv(SaltedLauncher::kPreloadedBefore);
  if (before != nullptr) {
    setenv("LD_PRELOAD", before, 1);
    unsetenv(SaltedLauncher::kPreloadedBefore);
  } else {
    unsetenv("LD_PRELOAD");
  }
  setenv("PYTHONHASHSEED", std::to_string(number + 1).c_str(), 1);
}

// A launcher that only forks ranks: it prints nothing and ends with the first one.
void be_quiet_below(pid_t first) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != first) {  // it ended before the call
    _exit(1);
  }
  setsid();  // Ctrl-C is for the first one
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int file : {0, 1, 2}) {
    dup2(nothing, file);
  }
  close(nothing);
}

SharedRunOptions options_of(int order, std::uint64_t seed) {
  SharedRunOptions options{.seed = seed};
  if (order != 0) {
    options.order = order == 1 ? TurnOrder::kFirstReady : TurnOrder::kRandom;
  }
  return options;
}

std::unique_ptr<SaltedLauncher> fork_launchers(std::istringstream description) {
  std::int64_t num_launchers = 0;
  std::int64_t world_size = 0;
  int order = 0;
  std::uint64_t seed = 0;
  description >> num_launchers >> world_size >> order >> seed;
  auto launcher = std::make_unique<SaltedLauncher>();
  launcher->run = std::make_shared<RankProcess>(world_size, options_of(order, seed));
  const pid_t first = getpid();
  for (std::int64_t number = 1; number < num_launchers; ++number) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      give_up("polyrank: no socket for a launcher");
    }
    const pid_t child = fork();
    if (child < 0) {
      give_up("polyrank: a launcher can't be forked");
    }
    if (child == 0) {
      be_quiet_below(first);
      close(ends[0]);
      for (const int other : launcher->sockets) {
        close(other);
      }
      launcher->sockets = {ends[1]};
      launcher->number = number;
      break;
    }
    close(ends[1]);
    launcher->sockets.push_back(ends[0]);
  }
  take_back_variables(launcher->number);
  return launcher;
}

// Runs as the library is loaded, and does nothing unless the variable is there.
__attribute__((constructor)) void fork_launchers_if_asked() {
  if (const char* const description = std::getenv(SaltedLauncher::kVariable)) {
    try {
      own() = fork_launchers(std::istringstream(description));
    } catch (const std::exception& error) {
      std::fputs(str_cat("polyrank: ", error.what(), "\n").c_str(), stderr);
      _exit(1);
    }
  }
}

}  // namespace

std::unique_ptr<SaltedLauncher> take_salted_launcher() noexcept { return std::move(own()); }

}  // namespace polyrank
