#include <ATen/Functions.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/world/meeting_exchange.h>
#include <polyrank/world/processes/quick_call.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace polyrank {

namespace {

// Bytes one after the other that a copy of memory takes as they are.
bool is_plain(const at::Tensor& tensor) {
  return tensor.defined() && tensor.is_cpu() && tensor.layout() == at::kStrided &&
         holds_values(tensor) && tensor.is_contiguous() && !tensor.is_conj() && !tensor.is_neg();
}

std::size_t num_bytes(const at::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel()) * c10::elementSize(tensor.scalar_type());
}

struct QuickResult {
  BoardBytes own = {};
  std::size_t num_bytes = 0;
};

// Memory for a result of so many bytes: that of the last one, if it is large enough.
std::byte* result_bytes(QuickGroup* group, std::size_t num_bytes) {
  const auto* result = static_cast<const QuickResult*>(group->result.get());
  if (result == nullptr || result->num_bytes < num_bytes) {
    auto larger = make_board_shared<QuickResult>();
    larger->own.reset(static_cast<std::byte*>(allocate_board_memory(num_bytes)));
    larger->num_bytes = num_bytes;
    result = larger.get();
    group->result = std::move(larger);
  }
  return result->own.get();
}

const SharedCall& call_of_part(const QuickPart& part) {
  return *static_cast<const SharedCall*>(part.payload.get());
}

void fold_parts(QuickGroup* group, const SharedCall& first) {
  std::vector<at::Tensor> members;
  members.reserve(group->parts.size());
  for (const QuickPart& part : group->parts) {
    members.push_back(tensor_of(call_of_part(part).units.front().inputs.front()));
  }
  const std::int64_t numel = members.front().numel();
  const ReducedElements place{.kind = first.spec->kind,
                              .root = first.root,
                              .element_size = members.front().element_size(),
                              .total = numel,
                              .begin = 0,
                              .length = numel};
  const at::Tensor folded = fold_members(first.reduce_op, members, place);
  std::memcpy(result_bytes(group, num_bytes(folded)), folded.const_data_ptr(), num_bytes(folded));
}

}  // namespace

std::optional<QuickGift> quick_gift(const CollectiveCall& call, std::int64_t group_rank,
                                    std::int64_t group_size) {
  const CollectiveKind kind = call.spec->kind;
  if (call.is_async || call.reduce_op == ReduceOp::kPremulSum || group_size < 2) {
    return std::nullopt;
  }
  if (kind == CollectiveKind::kBarrier && call.units.empty()) {
    return QuickGift{};
  }
  if (call.units.size() != 1 || call.units.front().inputs.size() != 1 ||
      call.units.front().outputs.size() != 1) {
    return std::nullopt;
  }
  const at::Tensor& input = call.units.front().inputs.front();
  const at::Tensor& output = call.units.front().outputs.front();
  if (!is_plain(input) || !is_plain(output) || input.scalar_type() != output.scalar_type() ||
      input.numel() == 0 || num_bytes(input) > kMaxQuickBytes) {
    return std::nullopt;
  }
  const auto members = static_cast<std::size_t>(group_size);
  switch (kind) {
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kBroadcast:
    case CollectiveKind::kReduce: {
      const bool gets = !gives_the_root_alone(kind) || group_rank == call.root;
      return num_bytes(output) == num_bytes(input)
                 ? std::optional(QuickGift{.num_bytes = gets ? num_bytes(output) : 0})
                 : std::nullopt;
    }
    case CollectiveKind::kReduceScatter:
      return num_bytes(output) * members == num_bytes(input)
                 ? std::optional(
                       QuickGift{.begin = static_cast<std::size_t>(group_rank) * num_bytes(output),
                                 .num_bytes = num_bytes(output)})
                 : std::nullopt;
    case CollectiveKind::kAllGather:
      return num_bytes(output) == num_bytes(input) * members &&
                     num_bytes(output) <= kMaxQuickResultBytes
                 ? std::optional(QuickGift{.num_bytes = num_bytes(output)})
                 : std::nullopt;
    default:
      return std::nullopt;
  }
}

void make_quick_result(QuickGroup* group) {
  const BelowAutogradGuard below_autograd;
  const SharedCall& first = call_of_part(group->parts.front());
  const CollectiveKind kind = first.spec->kind;
  if (is_reduction(kind)) {
    fold_parts(group, first);
  } else if (kind == CollectiveKind::kBroadcast) {
    const SharedCall& roots = call_of_part(group->parts[static_cast<std::size_t>(first.root)]);
    const SharedTensor& input = roots.units.front().inputs.front();
    const std::size_t size = num_bytes(tensor_of(input));
    std::memcpy(result_bytes(group, size), input.values, size);
  } else if (kind == CollectiveKind::kAllGather) {
    const std::size_t size = num_bytes(tensor_of(first.units.front().inputs.front()));
    std::byte* to = result_bytes(group, size * group->parts.size());
    for (const QuickPart& part : group->parts) {
      std::memcpy(to, call_of_part(part).units.front().inputs.front().values, size);
      to += size;
    }
  }
}

QuickMember::QuickMember(std::shared_ptr<RankProcess> rank, QuickGroup* group,
                         std::int64_t group_rank)
    : rank_(std::move(rank)), group_(group), group_rank_(group_rank) {}

QuickMember::~QuickMember() {
  rank_->run().leave_group(*group_, static_cast<std::size_t>(group_rank_));
}

bool QuickMember::is_there() const {
  const auto has_other_threads = process_hooks().has_other_threads;
  return rank_->run().is_rank() && rank_->run().can_meet_quickly() &&
         (has_other_threads == nullptr || !has_other_threads());
}

QuickMember::Saying QuickMember::saying_of(const CollectiveCall& call) {
  const auto find_line = call_site_finders().source_line;
  Saying saying{.spec = call.spec,
                .root = call.root,
                .reduce_op = call.reduce_op,
                .dtype = c10::ScalarType::Undefined,
                .sizes = {},
                .line = find_line == nullptr ? SourceLine{} : find_line()};
  if (!call.units.empty()) {
    const at::Tensor& input = call.units.front().inputs.front();
    saying.dtype = input.scalar_type();
    saying.sizes = input.sizes().vec();
  }
  return saying;
}

// Where the part keeps what the member puts in; null where nobody reads it.
std::byte* QuickMember::own_values() const {
  const SharedCall& kept = call_of_part(group_->parts[static_cast<std::size_t>(group_rank_)]);
  return kept.units.empty() ? nullptr : kept.units.front().inputs.front().own.get();
}

SharedRun::QuickEnd QuickMember::meet(const CollectiveCall& call) {
  SharedRun& run = rank_->run();
  const QuickPart& part = group_->parts[static_cast<std::size_t>(group_rank_)];
  Saying saying = saying_of(call);
  std::optional<SharedRun::Brought> fresh;
  if (part.payload == nullptr || saying != said_) {
    fresh = run.bring(launch_of(call, text_of(saying.line)), [&] {
      const BelowAutogradGuard below_autograd;
      return share_call(call, group_rank_);
    });
    said_ = std::move(saying);
  } else if (std::byte* const values = own_values()) {
    const at::Tensor& input = call.units.front().inputs.front();
    std::memcpy(values, input.const_data_ptr(), num_bytes(input));
  }
  const auto carry_out = [&] {
    try {
      const BoardMemoryScope scope(&run.arena());
      make_quick_result(group_);
      return true;
    } catch (const std::exception&) {  // the board's way says why
      return false;
    }
  };
  std::optional<SharedRun::QuickEnd> end;
  without_interpreter([&] {
    end.emplace(run.meet_quickly(*group_, static_cast<std::size_t>(group_rank_), std::move(fresh),
                                 carry_out, process_hooks().run_signal_handlers));
  });
  return std::move(end.value());
}

void QuickMember::take(const QuickGift& gift, const CollectiveCall& call) const {
  if (gift.num_bytes > 0) {
    const auto* const result = static_cast<const QuickResult*>(group_->result.get());
    std::memcpy(call.units.front().outputs.front().mutable_data_ptr(),
                result->own.get() + gift.begin, gift.num_bytes);
  }
}

}  // namespace polyrank
