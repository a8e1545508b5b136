#include <c10/util/Exception.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/gpu_timeline.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/streams.h>

#include <array>
#include <chrono>
#include <memory>

namespace polyrank {

namespace {

using Clock = std::chrono::steady_clock;

// What an event's pointer holds.
struct GpuEvent {
  explicit GpuEvent(c10::DeviceIndex gpu) : gpu(gpu) {}

  c10::DeviceIndex gpu;  // of all streams that record it
  Clock::time_point recorded;
  StreamMark mark;
  std::weak_ptr<GpuTimeline> timeline;  // that was kept when it was recorded
  TimelineEvent moment;                 // on it
};

// Calls `use` with the timeline that is kept, if one is; of an event, if that is the event's.
template <class Use>
void with_timeline(const Use& use) {
  if (const std::shared_ptr<GpuTimeline> timeline = gpu_timeline()) {
    use(*timeline);
  }
}

template <class Use>
void with_timeline_of(const GpuEvent& event, const Use& use) {
  with_timeline([&](GpuTimeline& timeline) {
    if (event.timeline.lock().get() == &timeline) {
      use(timeline);
    }
  });
}

// Calls `use` with the order of a GPU's streams. With bytes nothing depends on it.
template <class Use>
void with_order(c10::DeviceIndex gpu, const Use& use) {
  if (!gpus_have_bytes()) {
    rank_gpus()->with_allocator(gpu, [&](CachingAllocator& one) { use(one.streams()); });
  }
}

// Requires: 0 <= gpu < kMaxGpus
c10::StreamId& current_stream_id(c10::DeviceIndex gpu) {
  static thread_local std::array<c10::StreamId, kMaxGpus> streams{};  // 0: the default stream
  return streams.at(static_cast<unsigned char>(gpu));
}

c10::DeviceIndex index_of(c10::Device device) {
  const c10::DeviceIndex index = device.has_index() ? device.index() : current_gpu();
  check_gpu(index);
  return index;
}

c10::Stream stream_of(c10::DeviceIndex gpu, c10::StreamId id) {
  return c10::Stream(c10::Stream::UNSAFE, c10::Device(c10::kCUDA, gpu), id);
}

double milliseconds_between(const GpuEvent* start, const GpuEvent* end) {
  TORCH_CHECK(start != nullptr && end != nullptr,
              "Both events must be recorded before calculating elapsed time.");
  TORCH_CHECK(start->gpu == end->gpu,
              "CUDA error: invalid resource handle: the events were recorded on cuda:",
              static_cast<int>(start->gpu), " and cuda:", static_cast<int>(end->gpu),
              "; there is no time between events of different GPUs");
  const std::shared_ptr<GpuTimeline> timeline = end->timeline.lock();
  if (timeline != nullptr && timeline == start->timeline.lock()) {
    constexpr double kNanoseconds = 1e6;
    return static_cast<double>(end->moment.time - start->moment.time) / kNanoseconds;
  }
  return std::chrono::duration<double, std::milli>(end->recorded - start->recorded).count();
}

class GpuDeviceGuard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return c10::kCUDA; }

  c10::Device getDevice() const override { return {c10::kCUDA, current_gpu()}; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device old = getDevice();
    setDevice(device);
    return old;
  }
  // What outlives the GPUs (a future that a module keeps) is destroyed with a guard of its own, and
  // may not throw then.
  void setDevice(c10::Device device) const override {
    if (device.has_index() && virtual_gpus_are_on()) {
      set_current_gpu(device.index());
    }
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    try {
      setDevice(device);
    } catch (const c10::Error&) {
      // The GPU is gone; whoever names it next is told.
    }
  }
  c10::DeviceIndex deviceCount() const noexcept override {
    return virtual_gpus_are_on() ? virtual_gpus().count : c10::DeviceIndex{0};
  }
  c10::DeviceCapability getDeviceCapability(c10::Device /*device*/) const override { return {}; }

  c10::Stream getStream(c10::Device device) const override { return current_gpu_stream(device); }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return stream_of(index_of(device), 0);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool has_high_priority) const override {
    return new_gpu_stream(device, has_high_priority ? -1 : 0);
  }
  c10::Stream getNewStream(c10::Device device, int priority) const override {
    return new_gpu_stream(device, priority);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return exchange_gpu_stream(stream);
  }
  void* getStreamNativeHandle(const c10::Stream stream) const override {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): CUDA's handles are pointers, ours are numbers
    return reinterpret_cast<void*>(stream.id());
  }
  bool queryStream(const c10::Stream& /*stream*/) const override { return true; }
  void synchronizeStream(const c10::Stream& stream) const override {
    synchronize_gpu_stream(stream);
  }
  void synchronizeDevice(const c10::DeviceIndex gpu) const override { synchronize_gpu(gpu); }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex /*gpu*/,
              const c10::EventFlag /*flag*/) const override {
    if (*event == nullptr) {
      *event = new GpuEvent(stream.device_index());  // PyTorch's event calls destroyEvent()
    }
    auto* const recorded = static_cast<GpuEvent*>(*event);
    TORCH_CHECK(recorded->gpu == stream.device_index(), "Event device ",
                static_cast<int>(recorded->gpu), " does not match recording stream's device ",
                static_cast<int>(stream.device_index()), ".");
    recorded->recorded = Clock::now();
    with_order(stream.device_index(),
               [&](StreamOrder& order) { recorded->mark = order.record(stream.id()); });
    recorded->timeline = gpu_timeline();
    with_timeline([&](GpuTimeline& timeline) { recorded->moment = timeline.record(stream); });
  }
  void destroyEvent(void* event, const c10::DeviceIndex /*gpu*/) const noexcept override {
    delete static_cast<GpuEvent*>(event);
  }
  void block(void* event, const c10::Stream& stream) const override {
    const auto& recorded = *static_cast<const GpuEvent*>(event);
    if (recorded.gpu == stream.device_index()) {  // each GPU's memory knows its own streams alone
      with_order(recorded.gpu, [&](StreamOrder& order) { order.wait(stream.id(), recorded.mark); });
    }
    with_timeline_of(recorded,
                     [&](GpuTimeline& timeline) { timeline.wait(stream, recorded.moment); });
  }
  bool queryEvent(void* /*event*/) const override { return true; }
  void synchronizeEvent(void* event) const override {
    const auto& recorded = *static_cast<const GpuEvent*>(event);
    with_order(recorded.gpu, [&](StreamOrder& order) { order.host_wait(recorded.mark); });
    with_timeline_of(recorded, [&](GpuTimeline& timeline) { timeline.host_wait(recorded.moment); });
  }
  double elapsedTime(void* event1, void* event2, const c10::DeviceIndex /*gpu*/) const override {
    return milliseconds_between(static_cast<const GpuEvent*>(event1),
                                static_cast<const GpuEvent*>(event2));
  }
};

}  // namespace

c10::Stream current_gpu_stream(c10::Device device) {
  run_backward_here();  // autograd asks for a stream before it chooses a thread
  const c10::DeviceIndex gpu = index_of(device);
  return stream_of(gpu, current_stream_id(gpu));
}

c10::Stream exchange_gpu_stream(c10::Stream stream) {
  const c10::Stream old = current_gpu_stream(stream.device());
  current_stream_id(old.device_index()) = stream.id();
  return old;
}

c10::Stream new_gpu_stream(c10::Device device, int priority) {
  const c10::DeviceIndex gpu = index_of(device);
  return stream_of(gpu, rank_gpus()->next_pool_stream(gpu, priority < 0));
}

c10::Stream gpu_stream_of_handle(c10::Device device, std::uintptr_t handle) {
  if (handle > kPoolStreams) {
    throw UnsupportedOpError(
        str_cat("a virtual GPU has no streams of other libraries, as the handle ", handle,
                " would be; `Stream.cuda_stream` of a stream of torch.cuda is one of its own"));
  }
  return stream_of(index_of(device), static_cast<c10::StreamId>(handle));
}

void synchronize_gpu_stream(c10::Stream stream) {
  with_order(stream.device_index(),
             [&](StreamOrder& order) { order.host_wait(order.record(stream.id())); });
  with_timeline([&](GpuTimeline& timeline) { timeline.host_wait_for_stream(stream); });
}

void synchronize_gpu(c10::DeviceIndex gpu) {
  with_order(gpu, [](StreamOrder& order) { order.host_wait_for_all(); });
  with_timeline([](GpuTimeline& timeline) { timeline.host_wait_for_all(); });
}

double elapsed_gpu_time(std::uintptr_t start_event, std::uintptr_t end_event) {
  return milliseconds_between(reinterpret_cast<const GpuEvent*>(start_event),
                              reinterpret_cast<const GpuEvent*>(end_event));
}

const c10::impl::DeviceGuardImplInterface* gpu_device_guard() {
  static const auto* guard = new GpuDeviceGuard();  // PyTorch keeps the pointer for good
  return guard;
}

}  // namespace polyrank
