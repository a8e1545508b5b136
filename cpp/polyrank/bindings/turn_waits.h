// How calls that may block give the turn away.
#pragma once

#include <polyrank/bindings/builtin_calls.h>
#include <polyrank/matching/rank_turns.h>

#include <cstddef>
#include <memory>
#include <string>

namespace polyrank {

// Whose notices release() and put() give, by any thread of the process; null: nobody's.
void set_noticed_turns(std::shared_ptr<RankTurns> turns);

// The handler of a name:
// - "acquire", "release": of a lock. Who waits for a lock waits for its next release;
// - "get", "put": of a queue, likewise;
// - "poll": asks for what others may change: RankThread::asked(), with patience where the answer is
//   neither False nor an error.
// Throws: UsageError for another name.
BuiltinHandler turn_wait_handler(const std::string& name);

// Whether the calling thread loads a module. Then it keeps its turn where it can: others would find
// the module unfinished.
bool is_importing();

// RankThread::asked() for the calling thread.
void asked(std::size_t question, int patience = 2);

// Whether reading from (writing to) the file would not block, as far as poll() says.
bool is_ready(int file, bool for_writing) noexcept;

}  // namespace polyrank
