// The parts of a launch that both forms of a trace's text have.
#pragma once

#include <polyrank/report/collective_trace.h>
#include <polyrank/report/json_text.h>

namespace polyrank {

// Writes key and value of everything that a launch is, except its group and times, into the object
// that is open.
void write_launch_fields(const TracedLaunch& traced, JsonText* json);

}  // namespace polyrank
