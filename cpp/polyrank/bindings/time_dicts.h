// Times and lists of a timeline as Python takes them.
#pragma once

#include <polyrank/timeline/joint_replay.h>
#include <polyrank/timeline/time_report.h>
#include <pybind11/pybind11.h>

#include <vector>

namespace polyrank {

pybind11::dict dict_of(const TimeReport& report);
pybind11::list list_of(const std::vector<TimeReport>& reports);

// A list for each field of works and commands, and each text once: what JSON holds, too.
pybind11::dict columns_of(const RankRecording& recording);

// Throws: UsageError if it is not what columns_of() gives.
RankRecording recording_of(const pybind11::dict& columns);

}  // namespace polyrank
