// Launchers of one run in which strings have other hashes.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/processes/rank_process.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace polyrank {

// NOTE [Launchers with salts of their own]
// Python salts the hashes of strings once a process, as it starts. Ranks that are forked off one
// launcher have one salt, so sets of strings have one order on all of them, which hides that a
// program depends on it. Ranks of other salts need launchers that were forked before Python
// started, and still share the arena, in which pointers to our code lie (NOTE [Shared arena]). So
// the command is started anew with this library loaded ahead of it (LD_PRELOAD) and kVariable in
// its environment. As it is loaded, before the program's own main(), it makes the run and forks:
// all launchers have the arena and the code at the same addresses, by construction. Each then
// becomes a Python of its own, with another PYTHONHASHSEED, runs the same command, and comes to the
// place where ranks are forked: there the first one is the launcher, and the others fork the ranks
// that it sends them over a socket.

// What a process is that was forked so.
struct SaltedLauncher {
  // What the environment says: "launchers ranks order seed", order 0: side by side, 1: first ready,
  // 2: random.
  static constexpr const char* kVariable = "POLYRANK_SALTED_LAUNCHERS";
  // What LD_PRELOAD was before, if it was anything; taken back.
  static constexpr const char* kPreloadedBefore = "POLYRANK_PRELOADED_BEFORE";

  std::int64_t number = 0;  // 0: the first one
  std::shared_ptr<RankProcess> run;
  std::vector<int> sockets;  // of the first one: to each other one; of another: to the first one
};

// What this process is, for the one run that it was started for: null the second time, and in a
// process that is none.
POLYRANK_API std::unique_ptr<SaltedLauncher> take_salted_launcher() noexcept;

}  // namespace polyrank
