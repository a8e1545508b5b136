// What each rank, and each thread that one has started, does: as lines of text.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/match_board.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace polyrank {

// "rank 3", "ranks 0-2,5".
POLYRANK_API std::string name_ranks(std::span<const std::int64_t> ranks,
                                    std::string_view noun = "rank");

// Participants who have not come. Empty for a receive that names no sender, and for an event.
POLYRANK_API std::vector<std::int64_t> missing_of(const Meeting& meeting);

// Whom a participant of the meeting waits for: "ranks 0-2", "any rank".
POLYRANK_API std::string whom(const Meeting& meeting, std::string_view noun);

// What a thread that does not wait does; empty: it is left to the board.
using SayRunning = std::function<std::string(std::int64_t thread, bool is_one)>;

// One line for all ranks that do the same, ordered by their lowest rank, then such lines for the
// threads that ranks have started. `noun` is what the board's ranks are called.
// Ensures: (1) the same state gives the same text.
POLYRANK_API std::string describe_threads(const MatchBoard& board, std::string_view noun,
                                          const SayRunning& say_running = nullptr);

}  // namespace polyrank
