// Runs a function once a rank, each in a process of its own, and tells how they ended.
#pragma once

#include <gtest/gtest.h>
#include <polyrank/matching/shared_run.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace polyrank {

// What became of a rank: "" if it returned, the text of what it threw, or "signal 9".
using RankEndings = std::vector<std::string>;

// As the launcher: tells the run which rank died. `end` ends the run of a rank that returned.
inline RankEndings run_forked(SharedRun& run, const std::function<void(std::int64_t)>& program,
                              const std::function<void()>& end) {
  struct Child {
    pid_t process;
    int output;
  };
  std::vector<Child> children;
  for (std::int64_t rank = 0; rank < run.world_size(); ++rank) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe(ends.data()), 0);
    const pid_t child = fork();
    if (child == 0) {
      std::string text;
      try {
        run.begin(rank);
        program(rank);
        end();
      } catch (const std::exception& error) {
        text = error.what();
        try {
          run.end_failed(text);
        } catch (const std::exception& broken) {  // the board is
          text += broken.what();
        }
      }
      const bool is_written = write(ends[1], text.data(), text.size()) >= 0;
      _exit(is_written && !::testing::Test::HasFailure() ? 0 : 1);
    }
    close(ends[1]);
    children.push_back({child, ends[0]});
  }
  RankEndings endings(children.size());
  for (std::size_t left = children.size(); left > 0; --left) {
    int status = 0;
    const pid_t process = wait(&status);
    for (std::size_t rank = 0; rank < children.size(); ++rank) {
      if (children[rank].process == process && WIFSIGNALED(status)) {
        endings[rank] = "signal " + std::to_string(WTERMSIG(status));
        run.died(static_cast<std::int64_t>(rank), endings[rank]);
      } else if (children[rank].process == process) {
        EXPECT_EQ(WEXITSTATUS(status), 0) << "rank " << rank;
      }
    }
  }
  for (std::size_t rank = 0; rank < children.size(); ++rank) {
    std::array<char, 4096> buffer{};
    for (ssize_t size = 1; size > 0;) {
      size = read(children[rank].output, buffer.data(), buffer.size());
      endings[rank].append(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    }
    close(children[rank].output);
  }
  return endings;
}

}  // namespace polyrank
