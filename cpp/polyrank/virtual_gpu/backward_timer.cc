#include <c10/core/Device.h>
#include <polyrank/virtual_gpu/backward_timer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <torch/csrc/distributed/c10d/reducer_timer.hpp>

namespace polyrank {

namespace {

class GpuTimer final : public c10d::Timer {
 public:
  std::optional<std::int64_t> measureDifference(Event start, Event end) override {
    const std::optional<std::int64_t> started = getTimestamp(start);
    const std::optional<std::int64_t> ended = getTimestamp(end);
    // A step without synchronization records no end, and leaves that of an earlier step.
    if (!started || !ended || *ended < *started) {
      return std::nullopt;
    }
    return *ended - *started;
  }
};

}  // namespace

void place_gpu_timer() {
  if (!c10d::TimerRegistry()->Has(c10::kCUDA)) {
    c10d::TimerRegistry()->Register(c10::kCUDA,
                                    [](c10::Device /*gpu*/) -> std::unique_ptr<c10d::Timer> {
                                      return std::make_unique<GpuTimer>();
                                    });
  }
}

}  // namespace polyrank
