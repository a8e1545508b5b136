// The line of the user's program that runs.
#pragma once

#include <polyrank/report/call_site.h>

namespace polyrank {

// The innermost Python frame of the calling thread that is the user's: not of torch, polyrank or
// Python's standard library, nor code that these generated. Nothing if there is none.
//
// Thread rule: any thread, with or without the GIL. A thread that never ran Python has no frame.
// Cost: some 0.1 us a frame.
SourceLine python_source_line();

// Whether PyTorch's own code calls a collective, not the program: no Python frame runs, or one of
// torch's files other than those of torch.distributed's functions is more inner than the program's.
//
// Thread rule and cost: as python_source_line().
bool is_in_torch();

// Forgets which code is whose, which keeps code objects alive.
void forget_code_objects();

}  // namespace polyrank
