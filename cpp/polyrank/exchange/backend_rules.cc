#include <polyrank/exchange/backend_rules.h>

#include <algorithm>
#include <array>

namespace polyrank {

namespace {

using enum MemoryOrder;

// What gloo takes, by kind: of one tensor, and of a list with a tensor for each member.
struct GlooRow {
  CollectiveKind kind;
  MemoryOrder input, output;
  MemoryOrder listed_input, listed_output;
};

constexpr std::array kGloo = {
    GlooRow{CollectiveKind::kAllReduce, kDense, kDense, kDense, kDense},
    GlooRow{CollectiveKind::kReduce, kDense, kDense, kDense, kDense},
    GlooRow{CollectiveKind::kBroadcast, kDense, kDense, kDense, kDense},
    GlooRow{CollectiveKind::kAllGather, kAny, kAny, kAny, kAny},
    GlooRow{CollectiveKind::kGather, kAny, kAny, kAny, kAny},
    GlooRow{CollectiveKind::kScatter, kContiguous, kContiguous, kContiguous, kContiguous},
    GlooRow{CollectiveKind::kReduceScatter, kDense, kAny, kContiguous, kContiguous},
    GlooRow{CollectiveKind::kAllToAll, kContiguous, kContiguous, kAny, kAny},
};

// Those of gloo, and the float8 that NCCL alone takes.
constexpr std::array kTakenByAny = {c10::kByte,           c10::kChar,         c10::kInt,
                                    c10::kLong,           c10::kHalf,         c10::kBFloat16,
                                    c10::kFloat,          c10::kDouble,       c10::kBool,
                                    c10::kComplexHalf,    c10::kComplexFloat, c10::kComplexDouble,
                                    c10::kFloat8_e4m3fn,  c10::kFloat8_e5m2,  c10::kFloat8_e4m3fnuz,
                                    c10::kFloat8_e5m2fnuz};

bool is_list(Packing packing) {
  return packing == Packing::kPerMember || packing == Packing::kOnePerMember ||
         packing == Packing::kMemberByTensor;
}

bool goes_through_buffer(Packing packing) {
  return packing == Packing::kOnePerMember || packing == Packing::kMemberByTensor;
}

MemoryOrder order_for_gloo(const CollectiveSpec& spec, ArgumentRole role) {
  if (spec.kind == CollectiveKind::kAllReduce && spec.inputs.packing == Packing::kCoalesced) {
    return kAny;  // all are put into one buffer
  }
  const auto* const row =
      std::ranges::find_if(kGloo, [&](const GlooRow& row) { return row.kind == spec.kind; });
  if (row == kGloo.end()) {
    return kContiguous;  // messages
  }
  const bool has_list = is_list(spec.inputs.packing) || is_list(spec.outputs.packing);
  if (role == ArgumentRole::kInput) {
    return has_list ? row->listed_input : row->input;
  }
  return has_list ? row->listed_output : row->output;
}

}  // namespace

MemoryOrder needed_memory_order(const CollectiveSpec& spec, ArgumentRole role,
                                c10::DeviceType device) noexcept {
  if (device == c10::kCPU) {
    return order_for_gloo(spec, role);
  }
  return goes_through_buffer(spec.inputs.packing) || goes_through_buffer(spec.outputs.packing)
             ? kAny
             : kContiguous;
}

bool writes_by_copy(const CollectiveSpec& spec) noexcept {
  // What it copies may lie in memory in any order; what a list is reduced to must not, and is
  // copied, too.
  return spec.kind == CollectiveKind::kReduceScatter ||
         order_for_gloo(spec, ArgumentRole::kOutput) == kAny;
}

bool has_memory_order(const at::Tensor& tensor, MemoryOrder order) {
  if (order == kAny || tensor.layout() != c10::kStrided) {
    return true;
  }
  return tensor.is_contiguous(tensor.suggest_memory_format()) ||
         (order == kDense && tensor.is_non_overlapping_and_dense());
}

bool takes_dtype(CollectiveKind kind, c10::ScalarType dtype, c10::DeviceType device) noexcept {
  const bool is_message = kind == CollectiveKind::kSend || kind == CollectiveKind::kReceive;
  // What NCCL's table of dtypes has differs by its version and by GPU: left to it.
  return device != c10::kCPU || is_message ||
         std::ranges::find(kTakenByAny, dtype) != kTakenByAny.end();
}

std::string_view backend_of(c10::DeviceType device) noexcept {
  return device == c10::kCPU ? "gloo" : "NCCL";
}

}  // namespace polyrank
