// Why no rank can proceed.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/match_board.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

namespace polyrank {

// What every waiting rank is told when nothing can happen any more: which ranks wait where for
// whom, and the cycle or the rank at its end that is the cause. A CollectiveMismatchError where
// members who came to one meeting launched different things, since that is the likely cause of
// whatever else waits; else a DeadlockError. `noun` is what the board's ranks are called.
//
// Requires: some thread waits, and none can go on: board.is_stuck(), or first threads that run for
//           the board sleep elsewhere
// Ensures: (1) the same state gives the same text.
POLYRANK_API std::exception_ptr explain_standstill(const MatchBoard& board,
                                                   std::string_view noun = "rank");

// What a collective whose members' launches do not belong together is told.
// Requires: some participants have come
// Ensures: (1) null if those who came agree so far.
POLYRANK_API std::exception_ptr explain_mismatch(const Meeting& meeting);

// What a rank is told whose time is up while it waits for `meeting`: a CollectiveError that says
// who did not come and what each rank does. `noun` as above.
POLYRANK_API std::exception_ptr explain_timeout(const MatchBoard& board, std::int64_t rank,
                                                const Meeting& meeting,
                                                std::chrono::milliseconds timeout,
                                                std::string_view noun = "rank");

// What the others are told when a rank has failed.
POLYRANK_API std::exception_ptr explain_failure(std::int64_t rank, std::string_view failure,
                                                std::string_view noun = "rank");

// Lines of text, of which ranks.
using RankNotes = BoardMap<BoardText, BoardList<std::int64_t>>;

// Messages that nobody received and collectives that some members never came to, as lines of text,
// and what was noted of ranks; empty if all went well.
POLYRANK_API std::string describe_leftovers(const MatchBoard& board, const RankNotes& notes);

}  // namespace polyrank
