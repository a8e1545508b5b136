#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>
#include <polyrank/exchange/profiled_launch.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

struct Title {
  c10d::OpType op_type;
  const char* name;
};

// As gloo's and NCCL's backends of PyTorch call them.
constexpr std::array kTitles = {
    Title{c10d::OpType::BROADCAST, "broadcast"},
    Title{c10d::OpType::ALLREDUCE, "all_reduce"},
    Title{c10d::OpType::ALLREDUCE_COALESCED, "all_reduce"},
    Title{c10d::OpType::_ALLREDUCE_SPARSE, "sparse_all_reduce"},
    Title{c10d::OpType::REDUCE, "reduce"},
    Title{c10d::OpType::ALLGATHER, "all_gather"},
    Title{c10d::OpType::_ALLGATHER_BASE, "all_gather"},
    Title{c10d::OpType::ALLGATHER_COALESCED, "all_gather"},
    Title{c10d::OpType::GATHER, "gather"},
    Title{c10d::OpType::SCATTER, "scatter"},
    Title{c10d::OpType::REDUCE_SCATTER, "reduce_scatter"},
    Title{c10d::OpType::_REDUCE_SCATTER_BASE, "reduce_scatter"},
    Title{c10d::OpType::ALLTOALL_BASE, "all_to_all"},
    Title{c10d::OpType::ALLTOALL, "all_to_all"},
    Title{c10d::OpType::SEND, "send"},
    Title{c10d::OpType::RECV, "recv"},
    Title{c10d::OpType::RECVANYSOURCE, "recvAnySource"},
    Title{c10d::OpType::BARRIER, "barrier"},
};

}  // namespace

std::function<void()> begin_profiled(const std::string& backend, c10d::OpType op_type,
                                     const CollectiveCall& call) {
  std::optional<at::StepCallbacks> profilers =
      at::getStepCallbacksUnlessEmpty(at::RecordScope::USER_SCOPE);
  const auto* const title = std::ranges::find(kTitles, op_type, &Title::op_type);
  if (!profilers || title == kTitles.end()) {
    return nullptr;
  }
  auto event = std::make_shared<at::RecordFunction>(std::move(*profilers));
  event->_setAsync();  // it may end on another thread
  std::vector<c10::IValue> values;
  for (const CollectiveUnit& unit : call.units) {
    values.insert(values.end(), unit.inputs.begin(), unit.inputs.end());
  }
  event->before(backend + ":" + title->name,
                c10::ArrayRef<const c10::IValue>(values.data(), values.size()));
  return [event = std::move(event)] { event->end(); };
}

}  // namespace polyrank
