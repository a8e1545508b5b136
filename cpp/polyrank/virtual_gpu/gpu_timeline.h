// When the work of GPUs without bytes runs, as a program launches it.
#pragma once

#include <c10/core/Stream.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_runs.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/report/collective_launch.h>
#include <polyrank/timeline/joint_replay.h>
#include <polyrank/timeline/kernel_time.h>
#include <polyrank/timeline/nccl_time.h>
#include <polyrank/timeline/time_report.h>
#include <polyrank/timeline/timeline.h>
#include <polyrank/virtual_gpu/call_links.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace polyrank {

// What the times of a cluster's work depend on.
struct ClusterSpeeds {
  GpuSpeeds gpu;
  NcclTables nccl;
  NcclLinks links;
  // What the CPU takes. Units: nanoseconds.
  std::int64_t operator_time = 0;    // for an operator that launches a kernel
  std::int64_t view_time = 0;        // for one that launches none
  std::int64_t collective_time = 0;  // for a collective
};

// NOTE [Times of a program without bytes]
// While a timeline is kept, each operator on a GPU without bytes goes on the stream that is
// current, with the time of its kernel; each collective of the fake world goes on its group's
// stream, or on the current one if the program does not wait by itself, as ProcessGroupNCCL has it.
// On whatever streams, a group's collectives run one after the other: NCCL has a communicator's
// kernels wait for each other. Messages have a stream for each peer and direction. Events, waits
// and synchronizations order them. An event of CUDA that is recorded meanwhile knows its moment, so
// that the program's own timings are the forecast's.
//
// Thread rule: safe from any thread.
class POLYRANK_API GpuTimeline {
 public:
  explicit GpuTimeline(ClusterSpeeds speeds) : speeds_(std::move(speeds)) {}

  // An operator runs on a stream; without work it is one of the CPU alone.
  void run(c10::Stream stream, const std::optional<KernelWork>& work, std::string_view name);

  // The rank launches a collective of tensors on a GPU. Gives its number, or nothing if its tensors
  // are elsewhere or its group has one rank.
  std::optional<WorkNumber> launch(const CollectiveCall& call, const Group& group,
                                   std::int64_t own_rank);

  // The current stream waits for a launch.
  void wait_for(WorkNumber launch);

  TimelineEvent record(c10::Stream stream);
  void wait(c10::Stream stream, const TimelineEvent& event);
  void host_wait(const TimelineEvent& event);
  void host_wait_for_stream(c10::Stream stream);
  void host_wait_for_all();

  // A step of training ends.
  void end_step();

  // Of each step from its start to its end; what came after the last step is in none.
  std::vector<TimeReport> step_reports() const;
  TimeReport whole_report() const;  // of all

  // The text of a file for Perfetto.
  std::string chrome_trace(std::int64_t rank) const;

  // For a replay with other ranks.
  RankRecording recording(std::int64_t rank) const;

 private:
  struct Place {
    MemberNodes nodes = {};
    RankRuns members;
    std::vector<std::int64_t> ranks;                // the members' global ranks
    std::int64_t series = WorkFacts::kAlone;        // of its collectives, in series_
    std::optional<WorkNumber> last = std::nullopt;  // of its collectives
  };

  Place& place_of(const Group& group, std::int64_t own_rank);
  // As NCCL has it: GPUs that NVLink joins.
  std::int64_t node_of(std::int64_t rank) const noexcept {
    return rank / static_cast<std::int64_t>(speeds_.links.gpus_per_node);
  }
  std::int64_t series_of(MeetingSeries series);
  TimelineStream stream_of(const CollectiveCall& call, const Group& group);

  ClusterSpeeds speeds_;
  mutable std::mutex mutex_;
  Timeline timeline_;                                           // guarded by mutex_, as is the rest
  std::map<std::string, Place, std::less<>> places_;            // by the groups' names
  std::map<std::string, TimelineStream, std::less<>> streams_;  // of communicators
  std::vector<MeetingSeries> series_;
};

// The timeline that is kept at present; null: none is.
POLYRANK_API std::shared_ptr<GpuTimeline> gpu_timeline();
POLYRANK_API void keep_gpu_timeline(std::shared_ptr<GpuTimeline> timeline);

// Lets the fake world's collectives be told to the timeline that is kept.
void place_collective_times();

}  // namespace polyrank
