#include <c10/core/GradMode.h>
#include <polyrank/collective/cost_model.h>
#include <polyrank/core/interned.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/report/call_site.h>
#include <polyrank/timeline/communication_use.h>
#include <polyrank/timeline/timeline_trace.h>
#include <polyrank/virtual_gpu/call_links.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/gpu_timeline.h>
#include <polyrank/virtual_gpu/streams.h>
#include <polyrank/world/launch_clock.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <utility>

namespace polyrank {

namespace {

// Streams of PyTorch have small numbers, by GPU; those of communicators come after all of them.
constexpr TimelineStream kStreamsAGpu = TimelineStream{1} << 32;
constexpr TimelineStream kFirstCommunicator = kStreamsAGpu * kMaxGpus;

TimelineStream number_of(c10::Stream stream) {
  return kStreamsAGpu * stream.device_index() + stream.id();
}

WorkFacts facts_here(WorkKind kind, std::string_view name) {
  auto* const find_place = call_site_finders().module_place;
  const ModulePlace place = find_place == nullptr ? ModulePlace() : find_place();
  WorkFacts facts{.kind = kind, .name = name, .module = place.path};
  facts.is_backward = place.is_backward;
  return facts;
}

// A backward computes without gradients, except for what a checkpoint runs forward once more.
bool runs_forward_again(const WorkFacts& facts) {
  return facts.is_backward && c10::GradMode::is_enabled();
}

bool has_flops(KernelKind kind) {
  return kind == KernelKind::kMatmul || kind == KernelKind::kAttention;
}

std::int64_t payload_of(const CollectiveCall& call, std::int64_t group_size) {
  std::int64_t payload = 0;
  for (const CollectiveUnit& unit : call.units) {
    payload +=
        payload_bytes(call.spec->kind, group_size, bytes_of(unit.inputs), bytes_of(unit.outputs));
  }
  return payload;
}

bool is_message(CollectiveKind kind) {
  return kind == CollectiveKind::kSend || kind == CollectiveKind::kReceive;
}

// Group rank; nothing of a receive from anyone.
std::optional<std::int64_t> peer_of(const CollectiveCall& call, std::int64_t group_size) {
  if (call.peers.empty()) {
    return std::nullopt;
  }
  const std::int64_t peer = call.peers.front().guard_int(__FILE__, __LINE__);
  return peer >= 0 && peer < group_size ? std::optional(peer) : std::nullopt;
}

// Messages meet in the order in which they are sent and received between two ranks, whatever their
// tags, as NCCL has it.
MeetingSeries messages_of(CollectiveKind kind, const Group& group, std::int64_t own_rank,
                          std::int64_t peer) {
  std::vector<std::int64_t> ends{own_rank, peer};
  if (kind == CollectiveKind::kReceive) {
    std::swap(ends[0], ends[1]);
  }
  std::string label = str_cat("messages from rank ", ends[0], " to rank ", ends[1], " in group \"",
                              group.label(), '"');
  return {.name = str_cat(group.name(), " messages"),
          .ranks = std::move(ends),
          .label = std::move(label)};
}

// Of a barrier no tensor says where it is: NCCL's groups have theirs on the GPU.
bool is_on_gpu(const CollectiveCall& call) {
  const std::vector<at::Tensor> tensors = call.tensors();
  return std::ranges::any_of(tensors, [](const at::Tensor& tensor) { return tensor.is_cuda(); });
}

struct Kept {
  std::mutex mutex;
  std::shared_ptr<GpuTimeline> timeline;  // guarded by mutex
  std::atomic<std::uint64_t> number{0};   // of the timeline, so that tickets are its own
  std::atomic<bool> is_on{false};
};

Kept& kept() {
  static auto* kept = new Kept();  // events may outlive all
  return *kept;
}

constexpr int kTicketBits = 40;

}  // namespace

void GpuTimeline::run(c10::Stream stream, const std::optional<KernelWork>& work,
                      std::string_view name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!work) {
    timeline_.host_works(speeds_.view_time);
    return;
  }
  const bool is_copy = work->kind == KernelKind::kHostCopy;
  WorkFacts facts = facts_here(is_copy ? WorkKind::kCopy : WorkKind::kCompute, name);
  if (is_copy) {
    facts.detail = work->is_to_host ? "GPU to host" : "host to GPU";
  }
  facts.flops = has_flops(work->kind) ? work->flops : 0;
  facts.recomputed_flops = runs_forward_again(facts) ? facts.flops : work->recomputed_flops;
  facts.bytes = work->bytes;
  facts.roofline = roofline_time(*work, speeds_.gpu);
  const KernelRun run = run_of(*work, speeds_.gpu);
  facts.use = run.use;
  timeline_.launch(number_of(stream), run.time, facts, speeds_.operator_time);
}

GpuTimeline::Place& GpuTimeline::place_of(const Group& group, std::int64_t own_rank) {
  const auto known = places_.find(group.name());
  // A later group may have the name of one that is gone, and another rank's group is another one.
  if (known != places_.end() && known->second.members == group.ranks()) {
    return known->second;
  }
  Place place{.members = group.ranks(), .ranks = group.ranks().to_vector()};
  MemberNodes& members = place.nodes;
  members.own = std::ranges::find(place.ranks, own_rank) - place.ranks.begin();
  std::set<std::int64_t> nodes;
  const std::int64_t own_node = node_of(own_rank);
  for (const std::int64_t rank : place.ranks) {
    nodes.insert(node_of(rank));
    members.is_other_node.push_back(node_of(rank) != own_node);
  }
  place.series = series_of({.name = group.name(),
                            .ranks = place.ranks,
                            .label = str_cat("collectives of group \"", group.label(), '"')});
  members.group = {.ranks = group.size(), .nodes = std::max<std::int64_t>(1, std::ssize(nodes))};
  return places_.insert_or_assign(group.name(), std::move(place)).first->second;
}

std::int64_t GpuTimeline::series_of(MeetingSeries series) {
  const auto known = std::ranges::find(series_, series);
  const std::int64_t index = known - series_.begin();
  if (known == series_.end()) {
    series_.push_back(std::move(series));
  }
  return index;
}

TimelineStream GpuTimeline::stream_of(const CollectiveCall& call, const Group& group) {
  if (!call.is_async) {
    return number_of(current_gpu_stream({c10::kCUDA, current_gpu()}));
  }
  std::string name = group.name();
  if (is_message(call.spec->kind)) {
    const std::int64_t peer = peer_of(call, group.size()).value_or(-1);
    name = str_cat(name, ' ', to_string(call.spec->kind), ' ', peer);
  }
  const auto next = kFirstCommunicator + static_cast<TimelineStream>(streams_.size());
  return streams_.emplace(std::move(name), next).first->second;
}

std::optional<WorkNumber> GpuTimeline::launch(const CollectiveCall& call, const Group& group,
                                              std::int64_t own_rank) {
  if (group.size() <= 1 || !is_on_gpu(call)) {
    return std::nullopt;
  }
  const c10::Stream current = current_gpu_stream({c10::kCUDA, current_gpu()});
  const std::lock_guard<std::mutex> lock(mutex_);
  const CollectiveKind kind = call.spec->kind;
  Place& place = place_of(group, own_rank);
  const auto payload = static_cast<double>(payload_of(call, group.size()));
  std::int64_t series = place.series;
  if (is_message(kind)) {
    // Of a message from anyone nobody knows where it meets.
    const std::optional<std::int64_t> member = peer_of(call, group.size());
    series = member ? series_of(messages_of(kind, group, own_rank,
                                            place.ranks.at(static_cast<std::size_t>(*member))))
                    : WorkFacts::kAlone;
  }
  const NcclGroup& placed = place.nodes.group;
  ByLink bytes{};
  NcclChoice choice;
  if (is_made_of_messages(kind)) {
    bytes = message_bytes(call, place.nodes, payload);
    choice = message_time(bytes, placed, speeds_.nccl, speeds_.links);
  } else {
    choice = nccl_time(kind, placed, payload, speeds_.nccl, speeds_.links);
    bytes = collective_bytes(kind, placed, payload, choice);
  }
  WorkFacts facts = facts_here(WorkKind::kCommunication, to_string(kind));
  facts.group = interned(group.label());
  facts.detail = to_string(choice.algorithm, choice.protocol);
  facts.bytes = payload;
  facts.series = series;
  facts.use = communication_use(kind, placed, payload, choice, bytes, speeds_.nccl, speeds_.links,
                                speeds_.gpu);
  const TimelineStream stream = stream_of(call, group);
  if (stream != number_of(current)) {
    timeline_.wait(stream, timeline_.record(number_of(current)));
  }
  if (!is_message(kind) && place.last) {
    timeline_.wait(stream, timeline_.end_of(*place.last));
  }
  const WorkNumber work =
      timeline_.launch(stream, std::llround(choice.nanoseconds), facts, speeds_.collective_time);
  if (!is_message(kind)) {
    place.last = work;
  }
  return work;
}

void GpuTimeline::wait_for(WorkNumber launch) {
  const c10::Stream current = current_gpu_stream({c10::kCUDA, current_gpu()});
  const std::lock_guard<std::mutex> lock(mutex_);
  timeline_.wait(number_of(current), timeline_.end_of(launch));
}

TimelineEvent GpuTimeline::record(c10::Stream stream) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return timeline_.record(number_of(stream));
}

void GpuTimeline::wait(c10::Stream stream, const TimelineEvent& event) {
  const std::lock_guard<std::mutex> lock(mutex_);
  timeline_.wait(number_of(stream), event);
}

void GpuTimeline::host_wait(const TimelineEvent& event) {
  const std::lock_guard<std::mutex> lock(mutex_);
  timeline_.host_wait(event);
}

void GpuTimeline::host_wait_for_stream(c10::Stream stream) {
  const std::lock_guard<std::mutex> lock(mutex_);
  timeline_.host_wait_for_stream(number_of(stream));
}

void GpuTimeline::host_wait_for_all() {
  const std::lock_guard<std::mutex> lock(mutex_);
  timeline_.host_wait_for_all();
}

void GpuTimeline::end_step() {
  const std::lock_guard<std::mutex> lock(mutex_);
  timeline_.end_step();
}

std::vector<TimeReport> GpuTimeline::step_reports() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return TimeReports(timeline_).steps();
}

TimeReport GpuTimeline::whole_report() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return TimeReports(timeline_).whole();
}

std::string GpuTimeline::chrome_trace(std::int64_t rank) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return to_chrome_trace(timeline_, rank);
}

RankRecording GpuTimeline::recording(std::int64_t rank) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {.rank = rank,
          .works = timeline_.works(),
          .commands = timeline_.commands(),
          .series = series_};
}

std::shared_ptr<GpuTimeline> gpu_timeline() {
  Kept& one = kept();
  if (!one.is_on.load(std::memory_order_relaxed)) {
    return nullptr;
  }
  const std::lock_guard<std::mutex> lock(one.mutex);
  return one.timeline;
}

void keep_gpu_timeline(std::shared_ptr<GpuTimeline> timeline) {
  Kept& one = kept();
  const std::lock_guard<std::mutex> lock(one.mutex);
  ++one.number;
  one.is_on = timeline != nullptr;
  one.timeline = std::move(timeline);
}

void place_collective_times() {
  set_launch_clock({.launched = [](const CollectiveCall& call, const Group& group,
                                   std::int64_t own_rank) -> LaunchTicket {
                      const std::shared_ptr<GpuTimeline> timeline = gpu_timeline();
                      const auto launch = timeline == nullptr
                                              ? std::nullopt
                                              : timeline->launch(call, group, own_rank);
                      return launch ? (kept().number << kTicketBits) +
                                          static_cast<LaunchTicket>(*launch) + 1
                                    : kNoTime;
                    },
                    .waited =
                        [](LaunchTicket ticket) {
                          const std::shared_ptr<GpuTimeline> timeline = gpu_timeline();
                          if (timeline != nullptr && ticket >> kTicketBits == kept().number) {
                            constexpr LaunchTicket kMask = (LaunchTicket{1} << kTicketBits) - 1;
                            timeline->wait_for(static_cast<WorkNumber>(ticket & kMask) - 1);
                          }
                        }});
}

}  // namespace polyrank
