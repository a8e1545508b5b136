// A trace as text for other programs; docs/trace.md describes each field.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/report/collective_trace.h>

#include <string>

namespace polyrank {

// Raised when a field changes its meaning or goes; a field that is only added leaves it.
inline constexpr int kTraceSchemaVersion = 1;

// All launches and the groups that they name, as a JSON object.
POLYRANK_API std::string to_json(const CollectiveTrace& trace);

// The same for the viewers that read Chrome's trace events (Perfetto, chrome://tracing): a row for
// each set of ranks that launched the same collectives, an event for each launch, and where it was
// waited for later an arrow there.
// Ensures: (1) ranks share a row iff they took part in the same launches.
POLYRANK_API std::string to_chrome_trace(const CollectiveTrace& trace);

}  // namespace polyrank
