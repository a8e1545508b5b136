// When the work of one GPU runs: streams, events, and the CPU that launches.
#pragma once

#include <polyrank/core/export.h>

#include <cstddef>
#include <cstdint>
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
// Work knows which of the three its start was bound by. Going back along these bounds from a moment
// at which nothing is computed says what was waited for (idle_time.h).
// Streams that run at once do not slow each other down: what they share (multiprocessors, memory,
// links) is not modelled.
//
// Units: nanoseconds everywhere; the timeline begins at 0.

using TimelineStream = std::int64_t;
using WorkNumber = std::int64_t;  // index into Timeline::works()

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
  bool is_recomputed = false;  // forward once more, for a backward that kept nothing
  double flops = 0;
  double bytes = 0;     // of communication: its payload
  double roofline = 0;  // of computing: how long it would take at the GPU's peaks
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
};

// A moment on a stream.
struct TimelineEvent {
  std::int64_t time = 0;
  Bound bound = {};
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
  void host_works(std::int64_t duration) {
    host_now_ += duration;
    host_busy_ += duration;
  }

  // The CPU takes `launch_time` to launch work that runs for `duration`.
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
  void end_step() { step_ends_.push_back({.time = makespan(), .host_busy = host_busy_}); }

  // Ends of the steps, in order.
  // Ensures: (3) they ascend
  const std::vector<StepEnd>& step_ends() const noexcept { return step_ends_; }

  const std::vector<Work>& works() const noexcept { return works_; }

  // The moment at which a work is over.
  TimelineEvent end_of(WorkNumber number) const {
    return {.time = works_.at(static_cast<std::size_t>(number)).end, .bound = {.work = number}};
  }

  const std::vector<HostWait>& host_waits() const noexcept { return host_waits_; }

  // Where the CPU is, and how long it has worked so far.
  std::int64_t host_now() const noexcept { return host_now_; }
  std::int64_t host_busy() const noexcept { return host_busy_; }

  // When all that was launched so far is over, and the CPU is here; and what that is bound by.
  TimelineEvent latest() const;
  std::int64_t makespan() const { return latest().time; }

 private:
  struct Stream {
    TimelineEvent end = {};    // of its last work
    TimelineEvent until = {};  // what its next work waits for
  };

  Bound host_bound() const noexcept {
    return {.work = Bound::kHost, .host_since = host_since_, .host_waited_for = host_waited_for_};
  }

  std::map<TimelineStream, Stream> streams_;
  std::vector<Work> works_;
  std::vector<HostWait> host_waits_;
  std::vector<StepEnd> step_ends_;
  std::int64_t host_now_ = 0;
  std::int64_t host_busy_ = 0;
  std::int64_t host_since_ = 0;
  WorkNumber host_waited_for_ = Bound::kHost;
};

}  // namespace polyrank
