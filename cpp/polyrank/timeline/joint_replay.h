// The timelines of ranks that wait for each other.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/timeline/timeline.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace polyrank {

// NOTE [Ranks that wait for each other]
// What a program launches does not depend on when it runs. So each rank runs alone first, and its
// timeline keeps what it was asked to do; then the lists of all ranks are run together. On each,
// the CPU goes through its list, and what it launches queues on streams. Communication that comes
// to the head of its stream stands there until the others have come too: the n-th launch of a
// series meets the n-th of every other rank of that series. It ends at the start of the last one
// plus its cost, which is the most that a member said. Ranks of a series that are not replayed
// count as copies of those that are: nobody waits for them.
// A kernel takes as long as it took alone, what communication beside it slowed it by included.
// On each rank the times are those of its own Timeline, by the same code.

// Communication whose launches meet: a group's collectives, or its messages from one rank to
// another one.
struct MeetingSeries {
  std::string name = {};                 // the same on all ranks; of a group's collectives: its own
  std::vector<std::int64_t> ranks = {};  // global; those of two series of one name differ
  std::string label = {};                // for people: "collective of group dp"
  bool operator==(const MeetingSeries&) const = default;
};

// What one rank's program asked of its timeline.
struct RankRecording {
  std::int64_t rank = 0;                       // global
  std::vector<Work> works = {};                // in the order of their launches
  std::vector<TimelineCommand> commands = {};  // Timeline::commands()
  std::vector<MeetingSeries> series = {};      // WorkFacts::series is an index into them
};

// How much longer a rank's kernels take than was recorded: 1.3 for 30 % longer. Others take as
// long.
using SlowRanks = std::map<std::int64_t, double>;

// The timelines of these ranks, in their order, as they wait for each other.
// Ensures: (1) a rank that meets nobody has the timeline that it recorded
//          (2) works of one meeting end at the latest start plus the longest cost
//          (3) Work::waited is how long each stood still before, and late_rank who came last
// Throws: UsageError if a rank comes twice, a factor is not positive, or a list is not of a
//         timeline; DeadlockError if ranks wait for what never comes.
// Cost: O(n log n) of all commands.
POLYRANK_API std::vector<Timeline> replay_together(const std::vector<RankRecording>& recordings,
                                                   const SlowRanks& slow = {});

}  // namespace polyrank
