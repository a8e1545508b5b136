// When the work of one GPU runs: streams, events, and the CPU that launches.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/timeline/shared_gpu.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string_view>
#include <vector>

namespace polyrank {

// NOTE [The timeline]
// A GPU's stream runs what it is given in order. Work starts when the latest of three is over: the
// work before it on its stream, what its stream was told to wait for, and its launch by the CPU.
// The CPU launches in the program's order, and goes on at once, except where the program waits for
// the GPU. So each start is a maximum of numbers that are known when the work is launched, and the
// timeline is worked out as the program runs: nothing is replayed afterwards.
// The CPU runs ahead of a stream by so many launches at most, and then waits for the stream's
// oldest. Work knows which of the three its start was bound by. Going back along these bounds from
// a moment at which nothing is computed says what was waited for (idle_time.h). Communication slows
// what is launched after it and runs beside it: kernels (NOTE [Kernels beside communication] in
// shared_gpu.h), and communication of other groups on the same links (NOTE [Communication beside
// communication]). Other streams that run at once do not slow each other down. What was asked of a
// timeline is kept as a list of commands, which together with those of other ranks is run again
// where ranks wait for each other (joint_replay.h).
//
// Units: nanoseconds everywhere; the timeline begins at 0.

using TimelineStream = std::int64_t;
using WorkNumber = std::int64_t;  // index into Timeline::works()

// Launches that a stream of CUDA keeps before the CPU has to wait: about 1,000 were measured, on
// each of several streams (https://stackoverflow.com/questions/53970187), 1,024 by others (cupy
// issue 1294).
inline constexpr std::size_t kMostQueuedLaunches = 1024;

enum class WorkKind : std::uint8_t {
  kCompute,
  kCopy,  // between the host and the GPU
  kCommunication,
};

// What is told of work beside its time. Texts live as long as the process.
struct WorkFacts {
  WorkKind kind = WorkKind::kCompute;
  std::string_view name = {};    // "aten::mm", "all_gather"
  std::string_view module = {};  // "layers.0.mlp"; empty: none
  std::string_view group = {};   // the group's label, of communication
  std::string_view detail = {};  // how it runs: "ring, LL128"
  bool is_backward = false;
  double flops = 0;
  double recomputed_flops = 0;  // of them: what forward had computed, too
  double bytes = 0;             // of communication: its payload
  double roofline = 0;          // of computing: how long it would take at the GPU's peaks
  GpuUse use = {};              // of computing and communication
  // Of communication: where other ranks take part (MeetingSeries in joint_replay.h); kAlone: nobody
  // is known.
  static constexpr std::int64_t kAlone = -1;
  std::int64_t series = kAlone;
};

// What something starts or ends with.
struct Bound {
  static constexpr WorkNumber kHost = -1;

  WorkNumber work = kHost;  // whose end; kHost: the CPU came no earlier
  // Of the CPU: since when it has been working without a wait, and the work that it waited for
  // then; kHost: none.
  std::int64_t host_since = 0;
  WorkNumber host_waited_for = kHost;
};

struct Work {
  WorkFacts facts;
  TimelineStream stream = 0;
  std::int64_t launch_start = 0;  // on the CPU
  std::int64_t launch_end = 0;
  std::int64_t start = 0;
  std::int64_t end = 0;
  Bound bound;
  std::int64_t slowed = 0;  // how much longer it took, for communication ran beside it
  // Of communication with ranks that are replayed, too: how long it stood still before the last one
  // came, and which that was.
  std::int64_t waited = 0;
  std::int64_t late_rank = -1;
};

// A moment on a stream.
struct TimelineEvent {
  static constexpr std::int64_t kUnnumbered = -1;

  std::int64_t time = 0;
  Bound bound = {};
  std::int64_t number = kUnnumbered;  // index among those that record() and end_of() gave
};

// A launch, as far as the CPU goes.
struct HostLaunch {
  std::int64_t start = 0;
  TimelineEvent end = {};
};

enum class TimelineAction : std::uint8_t {
  kHostWorks,       // number: for how long
  kLaunch,          // the next of works()
  kRecord,          // stream; makes the next event
  kRecordEnd,       // makes the next event; number: of the work that it is the end of
  kWait,            // stream; number: of the event
  kHostWait,        // number: of the event
  kHostWaitForAll,  // of nothing
  kEndStep,         // of nothing
};

// What the timeline was asked to do.
struct TimelineCommand {
  TimelineAction action = TimelineAction::kHostWorks;
  TimelineStream stream = 0;
  std::int64_t number = 0;
};

// The CPU waited for the GPU.
struct HostWait {
  std::int64_t start;
  std::int64_t end;
  WorkNumber work;  // Bound::kHost: for no work
};

struct StepEnd {
  std::int64_t time;
  std::int64_t host_busy;  // how long the CPU had worked before
};

// Thread rule: the caller's.
class POLYRANK_API Timeline {
 public:
  // The CPU is busy for so long.
  // Requires: duration >= 0
  void host_works(std::int64_t duration);

  // The CPU takes `launch_time` to launch work that runs for `duration`, or longer beside
  // communication that was launched before. It first waits until the stream has a place for it.
  // Ensures: (1) it starts at the latest of: its stream's end, what the stream was told to wait
  //              for, the end of its launch
  //          (2) no two works of a stream overlap, and they run in the order of their launches
  // Requires: both times >= 0
  WorkNumber launch(TimelineStream stream, std::int64_t duration, const WorkFacts& facts,
                    std::int64_t launch_time);

  // The moment at which all that was launched on the stream so far is over, and the CPU is here.
  TimelineEvent record(TimelineStream stream);

  // What the stream is given from now on starts no earlier than `event`.
  void wait(TimelineStream stream, const TimelineEvent& event);

  // The CPU waits for an event; for a stream; for all streams.
  void host_wait(const TimelineEvent& event);
  void host_wait_for_stream(TimelineStream stream) { host_wait(record(stream)); }
  void host_wait_for_all();

  // A step of training ends here, when all that was launched so far is over and the CPU is here.
  void end_step();

  // Ends of the steps, in order.
  // Ensures: (3) they ascend
  const std::vector<StepEnd>& step_ends() const noexcept { return step_ends_; }

  const std::vector<Work>& works() const noexcept { return works_; }

  // The moment at which a work is over.
  TimelineEvent end_of(WorkNumber number);

  // All of the above, in order.
  // Ensures: (4) a timeline that is told the same has the same works, waits and steps
  const std::vector<TimelineCommand>& commands() const noexcept { return commands_; }

  const std::vector<HostWait>& host_waits() const noexcept { return host_waits_; }

  // Where the CPU is, and how long it has worked so far.
  std::int64_t host_now() const noexcept { return host_now_; }
  std::int64_t host_busy() const noexcept { return host_busy_; }

  // When all that was launched so far is over, and the CPU is here; and what that is bound by.
  TimelineEvent latest() const;
  std::int64_t makespan() const { return latest().time; }

  // The halves of the above for who runs commands again, and knows what a stream does only after
  // the CPU has gone on. They are not kept as commands, and nothing is slowed once more.
  HostLaunch host_launches(std::int64_t launch_time);
  // Requires: duration >= 0
  WorkNumber place(TimelineStream stream, std::int64_t duration, const WorkFacts& facts,
                   const HostLaunch& launch);
  TimelineEvent host_moment() const noexcept { return {.time = host_now_, .bound = host_bound()}; }
  // When all that was placed on the stream so far is over, and the CPU was at `host`.
  TimelineEvent moment_on(TimelineStream stream, const TimelineEvent& host);
  TimelineEvent placed_end(WorkNumber number) const {
    return {.time = works_.at(static_cast<std::size_t>(number)).end, .bound = {.work = number}};
  }
  void hold_stream(TimelineStream stream, const TimelineEvent& event);
  void hold_host(const TimelineEvent& event);
  void host_is_busy(std::int64_t duration) noexcept {
    host_now_ += duration;
    host_busy_ += duration;
  }
  // The work stood still for the first `waited` of its time, until `late_rank` had come.
  void tell_waited(WorkNumber number, std::int64_t waited, std::int64_t late_rank);
  // So much of the work's time is there since communication ran beside it.
  void tell_slowed(WorkNumber number, std::int64_t slowed);
  void place_step_end(const StepEnd& end) { step_ends_.push_back(end); }

 private:
  struct Stream {
    TimelineEvent end = {};    // of its last work
    TimelineEvent until = {};  // what its next work waits for
    // Its last launches, of which the first must be over before the next one.
    std::deque<WorkNumber> queued = {};
  };

  // The CPU waits until the stream has a place for one more.
  void hold_host_for_place(TimelineStream stream);

  TimelineEvent numbered(TimelineEvent event) noexcept {
    event.number = num_events_++;
    return event;
  }
  Bound host_bound() const noexcept {
    return {.work = Bound::kHost, .host_since = host_since_, .host_waited_for = host_waited_for_};
  }

  std::map<TimelineStream, Stream> streams_;
  SharedGpu gpu_;
  std::vector<Work> works_;
  std::vector<HostWait> host_waits_;
  std::vector<StepEnd> step_ends_;
  std::vector<TimelineCommand> commands_;
  std::int64_t num_events_ = 0;
  std::int64_t host_now_ = 0;
  std::int64_t host_busy_ = 0;
  std::int64_t host_since_ = 0;
  WorkNumber host_waited_for_ = Bound::kHost;
};

}  // namespace polyrank
