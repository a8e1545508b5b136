// Collectives that are left out, run twice or run late, to see who notices.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/kernels_in_front.h>
#include <polyrank/world/launch_site.h>

#include <memory>
#include <string>
#include <string_view>

namespace polyrank {

enum class MutationKind {
  kRecord,  // nothing is changed: sites are written down
  kDrop,    // see values_without()
  kDouble,  // runs again on what it gave
  kMove,    // runs when the thread's next launch at another site has run
};

struct Mutation {
  MutationKind kind = MutationKind::kRecord;
  LaunchSite site = {};  // where; of kRecord nothing
  std::string log = {};  // a file
};

// NOTE [Mutations]
// Every launch at one site is changed alike on all ranks, as if the program's line were another, by
// kernels in front of the operators of the table: so in every world, and in real processes. What an
// operator launches to do its work is part of it. The log is appended to by all processes of a run,
// a JSON object a line, each written whole:
//  - while sites are recorded, each site when a rank launches there for the first time, with what
//  can
//    be changed there: `can_double` (it gives something else again), `can_move` (it gives nothing
//    new) and, in a line of its own, `is_followed`: that a launch at another site came after it;
//  - else `is_reached`, when a process first launches at the site.

// While it lives, launches of this process, and of those that are forked off it, are mutated.
//
// Thread rule: made and destroyed while no other thread launches collectives.
class POLYRANK_API LaunchMutation {
 public:
  explicit LaunchMutation(Mutation mutation);

 private:
  KernelsInFront kernels_;
};

// The mutation that a text says: its kind ("record", "drop", "double", "move"), the log, and beside
// "record" operator, file, line and group, a line each.
// Throws: UsageError if it says none.
POLYRANK_API Mutation parse_mutation(std::string_view text);

// The variable of the environment that has such a text.
inline constexpr const char* kMutationVariable = "POLYRANK_MUTATION";

// Mutates for the rest of the process as the environment says; where it says nothing, nothing
// happens.
// Throws: as parse_mutation().
POLYRANK_API void mutate_as_environment_says();

}  // namespace polyrank
