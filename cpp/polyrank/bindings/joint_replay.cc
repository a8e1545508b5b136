#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/time_dicts.h>
#include <polyrank/timeline/joint_replay.h>
#include <polyrank/timeline/timeline_trace.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

// Ranks that were replayed together.
struct JointReplay {
  std::vector<std::int64_t> ranks;
  std::vector<Timeline> timelines;
};

JointReplay replay(const std::vector<py::dict>& recordings, const SlowRanks& slow) {
  std::vector<RankRecording> read;
  JointReplay made;
  read.reserve(recordings.size());
  made.ranks.reserve(recordings.size());
  for (const py::dict& one : recordings) {
    read.push_back(recording_of(one));
    made.ranks.push_back(read.back().rank);
  }
  const py::gil_scoped_release no_gil;
  made.timelines = replay_together(read, slow);
  return made;
}

std::string trace_of(const JointReplay& replay) {
  std::vector<TracedRank> traced;
  traced.reserve(replay.ranks.size());
  for (std::size_t i = 0; i < replay.ranks.size(); ++i) {
    traced.push_back({.rank = replay.ranks[i], .timeline = &replay.timelines[i]});
  }
  return to_chrome_trace(traced);
}

std::vector<std::int64_t> step_ends_of(const Timeline& timeline) {
  std::vector<std::int64_t> ends;
  ends.reserve(timeline.step_ends().size());
  for (const StepEnd& end : timeline.step_ends()) {
    ends.push_back(end.time);
  }
  return ends;
}

}  // namespace

void init_joint_replay(py::module_& module) {
  py::class_<JointReplay>(module, "JointReplay", "Timelines of ranks that wait for each other.")
      .def(py::init(&replay), py::arg("recordings"), py::arg("slow") = SlowRanks())
      .def_readonly("ranks", &JointReplay::ranks)
      .def(
          "step_reports",
          [](const JointReplay& self, std::size_t index) {
            return list_of(TimeReports(self.timelines.at(index)).steps());
          },
          py::arg("index"))
      .def(
          "whole_report",
          [](const JointReplay& self, std::size_t index) {
            return dict_of(TimeReports(self.timelines.at(index)).whole());
          },
          py::arg("index"))
      .def(
          "step_ends",
          [](const JointReplay& self, std::size_t index) {
            return step_ends_of(self.timelines.at(index));
          },
          py::arg("index"))
      .def("chrome_trace", &trace_of);
}

}  // namespace polyrank
