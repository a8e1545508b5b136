// Where the small collectives of a group of processes meet.
#pragma once

#include <polyrank/matching/board_memory.h>
#include <polyrank/matching/launch.h>
#include <polyrank/matching/match_board.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace polyrank {

// NOTE [Quick meetings]
// On the board a meeting is made anew for each launch: what each member says and brings, an
// outcome, who waits. For small tensors that takes longer than the collective itself. A rank that
// waits for its launch at once, as most programs do, can do without. What it says and brings lies
// in its *part* of the group, and stays there: the next launch of the same kind, from the same
// line, only writes other values. The last member to come makes the group's result of all parts and
// wakes the others, each of which takes what it gets from there. So a launch takes the board's lock
// once, for a moment, allocates nothing, and sleeps once.
// Nothing of this is known to anybody else. As soon as it matters (a member comes with another kind
// of launch, launches do not agree, a rank dies or all wait, somebody asks what ranks do) the
// meeting is *moved*: its members come to the board as if they had never come here, and wait there.
// So there is one place that finds and words faults.
// The launches of a group are counted here while it is *open*, that is while all its launches so
// far have met; else by the board.
// A member comes to the next launch only when it has what the last one gave, so parts and result
// are needed once.

// What a member brings.
//
// Thread rule: its rank writes it, and who moves it, under the board's lock. `values` of the
// payload are its rank's before it comes, and the last member's from when all have come.
struct QuickPart {
  std::optional<Launch> launch = {};       // these two: of board memory; null once they were moved
  std::shared_ptr<void> payload = {};      // as a meeting's
  std::int64_t sequence = -1;              // of the launch that it came to last
  bool is_counted = false;                 // as waiting, by the board
  std::shared_ptr<Meeting> moved_to = {};  // until its rank has seen that
  std::atomic<bool> was_moved = false;
};

// Lies in the memory that ranks share.
//
// Thread rule: the board's lock, except for what is atomic.
struct QuickGroup {
  explicit QuickGroup(std::shared_ptr<const MeetingGroup> board_group)
      : group(std::move(board_group)), parts(group->members.size()) {}

  bool has_come(const QuickPart& part) const noexcept {
    return num_arrived > 0 && part.sequence == sequence;
  }

  std::shared_ptr<const MeetingGroup> group;
  BoardList<QuickPart> parts;  // by member
  bool is_open = true;
  bool is_carried_out = false;  // by the last member to come, at this moment
  std::size_t num_arrived = 0;
  std::atomic<std::int64_t> sequence = 0;  // of the present launch
  std::atomic<std::uint32_t> word = 0;     // another one whenever who sleeps should look
  std::uint64_t num_changes = 0;           // of what members say
  std::uint64_t num_agreed = 0;            // changes, when all agreed
  std::shared_ptr<void> result = {};       // the last member's, until all have come again
};

}  // namespace polyrank
