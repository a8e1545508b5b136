#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/number_hooks.h>

namespace polyrank {

namespace {

// The node as a node of ours, also where PyTorch put it behind a Python object.
template <typename Node>
const Node* as_node(const c10::SymNodeImpl* node) noexcept {
  if (node == nullptr) {
    return nullptr;
  }
  if (const auto* local = dynamic_cast<const Node*>(node)) {
    return local;
  }
  const auto behind_python = number_hooks().behind_python.load(std::memory_order_acquire);
  return behind_python == nullptr ? nullptr : dynamic_cast<const Node*>(behind_python(*node));
}

}  // namespace

c10::SymInt make_local_int(const RankPartition& partition,
                           std::span<const std::int64_t> value_of_cohort) {
  LocalInt number(partition, value_of_cohort);
  if (number.is_uniform()) {
    return number.value(0);
  }
  return c10::SymNode(c10::make_intrusive<LocalIntNode>(std::move(number)));
}

c10::SymFloat make_local_float(const RankPartition& partition,
                               std::span<const double> value_of_cohort) {
  LocalFloat number(partition, value_of_cohort);
  if (number.is_uniform()) {
    return number.value(0);
  }
  return c10::SymNode(c10::make_intrusive<LocalFloatNode>(std::move(number)));
}

c10::SymBool make_local_bool(const RankPartition& partition,
                             std::span<const bool> value_of_cohort) {
  LocalBool number(partition, value_of_cohort);
  if (number.is_uniform()) {
    return number.value(0);
  }
  return c10::SymNode(c10::make_intrusive<LocalBoolNode>(std::move(number)));
}

const LocalIntNode* as_local_int(const c10::SymInt& number) noexcept {
  return number.is_heap_allocated() ? as_node<LocalIntNode>(number.toSymNodeImplUnowned())
                                    : nullptr;
}

const LocalFloatNode* as_local_float(const c10::SymFloat& number) noexcept {
  return as_node<LocalFloatNode>(number.toSymNodeImplUnowned());
}

const LocalBoolNode* as_local_bool(const c10::SymBool& number) noexcept {
  return as_node<LocalBoolNode>(number.toSymNodeImplUnowned());
}

}  // namespace polyrank
