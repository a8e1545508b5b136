// Groups of the worlds that run in one process.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/dist2/process_groups.h>
#include <polyrank/world/fake/fake_member.h>

#include <optional>

namespace polyrank::dist2 {

// NOTE [The backend of a world]
// A program that asks for "gloo" or "nccl" runs unchanged in the worlds of one process: where ranks
// run in lockstep, are threads, or one runs alone, both names give that world's group, as
// init_process_group does there. What is asked for by name ("fake", "lockstep", "threads", the
// program's own) is always what the name says.

// Where the calling thread's world has its members meet; all is left open outside of such a world.
Endpoint endpoint_of_world();

// The group that stands for a real one in the calling thread's world, whatever options the real
// one's backend was given; null outside of such a world.
ProcessGroup group_of_world(const GroupRequest& request);

// A store that holds what this process puts in.
Store fake_store();

// The calling process runs one rank of a fake world from now on; nothing: it does not.
POLYRANK_API void set_fake_world(std::optional<FakeMember> member);

// The factory of "fake". Options: "values", "checks", "fake_option", "error_on_collective", as
// FakeOptions has them. Serves the request's device, cpu, cuda, hpu and xpu.
// Throws: UnknownOptionError; UsageError for a value of another type, and while ranks run in
//         lockstep.
ProcessGroup make_fake_group(const GroupRequest& request);

// The factory of "lockstep": the group of all ranks of the mode that is on. No options.
// Throws: UnknownOptionError; UsageError if no mode is on.
ProcessGroup make_lockstep_group(const GroupRequest& request);

// The factory of "threads": the group of all ranks of the run. No options.
// Throws: UnknownOptionError; UsageError if the calling thread is no rank.
ProcessGroup make_threads_group(const GroupRequest& request);

}  // namespace polyrank::dist2
