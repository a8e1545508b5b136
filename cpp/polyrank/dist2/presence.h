// Whether the processes of other ranks are there.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/dist2/backend_registry.h>

#include <chrono>
#include <string>
#include <vector>

namespace polyrank::dist2 {

// NOTE [Who is gone]
// gloo's errors name an address or a time, not a rank. So each process listens on a port and never
// accepts: the operating system answers for it as long as it lives, however busy it is, and refuses
// once it has ended. Members tell each other their ports when they make a group (roll_call), and
// ask when a collective has failed.

// Where this process can be asked; "host:port". Made at the first call.
// Throws: CollectiveError if the process may not listen.
POLYRANK_API std::string own_address();

// Whether the process that said this address has ended. A host that does not answer at all has.
POLYRANK_API bool has_ended(const std::string& address, std::chrono::milliseconds timeout);

// Keys of `store` that no other group has: this rank's next group's. Ranks count in the store
// itself, so that it does not matter by which process or object they come to it. Throws:
// CollectiveError if the store can't be reached.
POLYRANK_API Store own_keys(const Store& store, int rank, int world_size);

// Waits until all members have come, and gives their addresses, by rank.
// Throws: CollectiveError if some have not within `timeout`, naming them, or the store can't be
//         reached.
POLYRANK_API std::vector<std::string> roll_call(const Store& store, int rank, int world_size,
                                                std::chrono::milliseconds timeout);

}  // namespace polyrank::dist2
