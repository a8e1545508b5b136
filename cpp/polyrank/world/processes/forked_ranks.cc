#include <ATen/Parallel.h>
#include <fcntl.h>
#include <poll.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/turn_watch.h>
#include <polyrank/world/processes/forked_ranks.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace polyrank {

namespace {

using Clock = std::chrono::steady_clock;

// What a rank tells as it ends, before its result or the text of its fault.
struct Header {
  bool has_failed = false;
  FaultKind kind = FaultKind::kError;
  Clock::time_point when = {};
};

// A file descriptor that is closed for certain.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() { close(); }
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int get() const noexcept { return fd_; }
  bool is_open() const noexcept { return fd_ >= 0; }
  void close() noexcept {
    if (is_open()) {
      ::close(std::exchange(fd_, -1));
    }
  }

 private:
  int fd_;
};

std::string text_of_errno() { return std::generic_category().message(errno); }

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) {
      return;  // the caller is gone
    }
    bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
  }
}

void tell(int fd, const Header& header, std::string_view text) {
  std::array<char, sizeof(Header)> bytes{};
  std::memcpy(bytes.data(), &header, sizeof header);
  write_all(fd, {bytes.data(), bytes.size()});
  write_all(fd, text);
}

// A rank's process, and what it has told.
class Child {
 public:
  Child(pid_t process, File source) : process_(process), source_(std::move(source)) {}

  // Whether it has not been seen to end.
  bool runs() const noexcept { return source_.is_open(); }
  int source() const noexcept { return source_.get(); }
  pid_t process() const noexcept { return process_; }
  void kill() const { ::kill(process_, SIGKILL); }

  // Reads what there is. Returns: whether it has ended.
  bool read() {
    std::array<char, 65536> buffer{};
    const ssize_t size = ::read(source_.get(), buffer.data(), buffer.size());
    if (size > 0 || (size < 0 && errno == EINTR)) {
      told_.append(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
      return false;
    }
    source_.close();
    while (waitpid(process_, &status_, 0) < 0 && errno == EINTR) {
    }
    return true;
  }

  // Requires: it has ended
  RankEnding ending(std::int64_t rank) const {
    Header header;
    if (WIFSIGNALED(status_) || told_.size() < sizeof header) {
      return {.result = {},
              .fault = Fault{.kind = FaultKind::kCollective,
                             .text = str_cat("rank ", rank, " died by ", how())},
              .when_failed = Clock::now()};
    }
    std::memcpy(&header, told_.data(), sizeof header);
    const std::string text = told_.substr(sizeof header);
    if (!header.has_failed) {
      return {.result = text, .fault = std::nullopt, .when_failed = {}};
    }
    return {.result = {},
            .fault = Fault{.kind = header.kind, .text = text},
            .when_failed = header.when};
  }

  bool was_killed() const noexcept { return WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL; }

  std::string how() const {
    return WIFSIGNALED(status_) ? str_cat("signal ", WTERMSIG(status_))
                                : str_cat("exit code ", WEXITSTATUS(status_));
  }

 private:
  pid_t process_;
  File source_;
  std::string told_;
  int status_ = 0;
};

// The process of a rank, from its first to its last instruction.
[[noreturn]] void be_rank(RankProcess& process, std::int64_t rank, pid_t launcher, int sink,
                          const std::function<std::string(std::int64_t rank)>& program) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // NOLINT(*-vararg): as the system has it
  if (getppid() != launcher) {       // it ended before the call
    _exit(1);
  }
  at::set_num_threads(1);
  try {
    process.run().begin(rank);
    process.take_turn();
    const std::string result = program(rank);
    process.end();
    tell(sink, {.has_failed = false, .kind = FaultKind::kError, .when = Clock::now()}, result);
  } catch (...) {
    Fault fault = fault_of(std::current_exception());
    const Clock::time_point when = Clock::now();
    try {
      process.run().end_failed(fault.text);
    } catch (const Error& broken) {
      fault.text += str_cat(" (", std::string_view(broken.what()), ")");
    }
    tell(sink, {.has_failed = true, .kind = fault.kind, .when = when}, fault.text);
  }
  std::cout.flush();
  std::fflush(nullptr);
  _exit(0);
}

Child fork_rank(RankProcess& process, std::int64_t rank,
                const std::function<std::string(std::int64_t rank)>& program) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw Error(str_cat("no pipe for rank ", rank, ": ", text_of_errno()));
  }
  File source(ends[0]);
  const File sink(ends[1]);
  const pid_t launcher = getpid();
  const pid_t child = fork();
  if (child < 0) {
    throw Error(str_cat("no process for rank ", rank, ": ", text_of_errno()));
  }
  if (child == 0) {
    be_rank(process, rank, launcher, sink.get(), program);
  }
  return {child, std::move(source)};
}

// All of a run.
class Children {
 public:
  explicit Children(RankProcess* process) : process_(process) {}
  ~Children() {
    for (Child& child : children_) {
      if (child.runs()) {
        child.kill();
        while (!child.read()) {
        }
      }
    }
  }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  void fork_all(const std::function<std::string(std::int64_t rank)>& program) {
    for (std::int64_t rank = 0; rank < process_->run().world_size(); ++rank) {
      children_.push_back(fork_rank(*process_, rank, program));
    }
    if (process_->run().is_ordered()) {
      std::vector<pid_t> processes;
      processes.reserve(children_.size());
      for (const Child& child : children_) {
        processes.push_back(child.process());
      }
      turns_.emplace(process_->run().shared_from_this(), std::move(processes));
    }
  }

  std::vector<RankEnding> await(std::chrono::milliseconds grace) {
    std::vector<RankEnding> endings(children_.size());
    std::optional<Clock::time_point> deadline;
    while (std::ranges::any_of(children_, &Child::runs)) {
      if (deadline && Clock::now() >= *deadline) {
        kill_rest(grace);
      }
      look_at_turns();
      for (const std::size_t rank : readable()) {
        if (children_[rank].read()) {
          end(rank, &endings[rank]);
          if (endings[rank].fault && !deadline) {
            deadline = Clock::now() + grace;
          }
        }
      }
    }
    return endings;
  }

 private:
  void look_at_turns() {
    if (turns_) {
      if (const std::optional<std::string> told = turns_->look()) {
        std::cerr << *told;
      }
    }
  }

  // Ranks that have told something or ended; none after a while.
  std::vector<std::size_t> readable() const {
    std::vector<pollfd> files;
    files.reserve(children_.size());
    for (const Child& child : children_) {  // poll() passes over what is closed: -1
      files.push_back({.fd = child.source(), .events = POLLIN, .revents = 0});
    }
    const auto wait = turns_ ? TurnWatch::kLookEvery : std::chrono::milliseconds(100);
    std::vector<std::size_t> ranks;
    if (poll(files.data(), files.size(), static_cast<int>(wait.count())) > 0) {
      for (std::size_t rank = 0; rank < files.size(); ++rank) {
        if (files[rank].revents != 0) {
          ranks.push_back(rank);
        }
      }
    }
    return ranks;
  }

  void end(std::size_t rank, RankEnding* ending) {
    const auto number = static_cast<std::int64_t>(rank);
    *ending = children_[rank].ending(number);
    if (is_killed_ && ending->fault && children_[rank].was_killed()) {
      ending->fault->text = str_cat("rank ", rank, " did not end within ", is_killed_->count(),
                                    " ms after another rank had failed, and was killed");
    } else if (ending->fault) {
      process_->run().died(number, children_[rank].how());
    }
  }

  void kill_rest(std::chrono::milliseconds grace) {
    is_killed_ = grace;
    for (const Child& child : children_) {
      if (child.runs()) {
        child.kill();
      }
    }
  }

  RankProcess* process_;
  std::vector<Child> children_;
  std::optional<TurnWatch> turns_;                      // where one goes at a time
  std::optional<std::chrono::milliseconds> is_killed_;  // who still runs, after that long
};

}  // namespace

std::vector<RankEnding> fork_ranks(const std::shared_ptr<RankProcess>& process,
                                   const std::function<std::string(std::int64_t rank)>& program,
                                   std::chrono::milliseconds grace) {
  std::cout.flush();
  std::fflush(nullptr);
  std::vector<RankEnding> endings;
  std::exception_ptr error;
  // A new thread, which is that of every rank: OpenMP keeps its helpers with the thread that has
  // computed, and a fork of such a thread would wait for helpers that are not there. Ranks end with
  // it, so it stays.
  std::thread([&] {
    try {
      Children children(process.get());
      children.fork_all(program);
      endings = children.await(grace);
    } catch (...) {
      error = std::current_exception();
    }
  }).join();
  if (error != nullptr) {
    std::rethrow_exception(error);
  }
  return endings;
}

}  // namespace polyrank
