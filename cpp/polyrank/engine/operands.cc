#include <ATen/ScalarOps.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/operands.h>

#include <algorithm>
#include <utility>

namespace polyrank {

namespace {

// The partition of a number that differs between ranks, or null.
const RankPartition* partition_of(const c10::Scalar& number) {
  if (!number.isSymbolic()) {
    return nullptr;
  }
  if (number.isSymInt()) {
    const auto* node = as_local_int(number.toSymInt());
    return node == nullptr ? nullptr : &node->partition();
  }
  if (number.isSymFloat()) {
    const auto* node = as_local_float(number.toSymFloat());
    return node == nullptr ? nullptr : &node->partition();
  }
  const auto* node = as_local_bool(number.toSymBool());
  return node == nullptr ? nullptr : &node->partition();
}

c10::Scalar number_on_cohort(const c10::Scalar& number, std::int32_t cohort) {
  if (number.isSymInt()) {
    return as_local_int(number.toSymInt())->value(cohort);
  }
  if (number.isSymFloat()) {
    return as_local_float(number.toSymFloat())->value(cohort);
  }
  return as_local_bool(number.toSymBool())->value(cohort);
}

bool is_symbolic_number(const c10::IValue& value) {
  return value.isSymInt() || value.isSymFloat() || value.isSymBool();
}

// The number behind a placeholder tensor that the argument parser made of a symbolic scalar.
std::optional<c10::Scalar> wrapped_number(const at::Tensor& tensor) {
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  if (!impl->is_wrapped_number() || interpreter_hooks().wrapped_number == nullptr ||
      impl->pyobj_slot()->load_pyobj() == nullptr) {  // a plain scalar's tensor has no object
    return std::nullopt;
  }
  auto number = interpreter_hooks().wrapped_number(tensor);
  return number && partition_of(*number) != nullptr ? number : std::nullopt;
}

bool may_hold_varying(const c10::IValue& list) {
  return !list.isIntList() && !list.isDoubleList() && !list.isBoolList();
}

void scan_tensor(const at::Tensor& tensor, OperandScan* scan) {
  if (!tensor.defined()) {
    return;
  }
  if (LocalTensorImpl::from(tensor) != nullptr || wrapped_number(tensor)) {
    scan->has_local = true;
  } else if (!tensor.key_set().has(c10::DispatchKey::Python)) {
    scan->has_plain = true;
  } else if (interpreter_hooks().handles_operators_itself != nullptr &&
             interpreter_hooks().handles_operators_itself(tensor)) {
    scan->has_foreign = true;
  } else {
    scan->has_plain = true;
    scan->has_fake = true;
  }
}

void scan_value(const c10::IValue& value, OperandScan* scan) {
  if (value.isTensor()) {
    scan_tensor(value.toTensor(), scan);
  } else if (is_symbolic_number(value)) {
    scan->has_local = scan->has_local || partition_of(value.toScalar()) != nullptr;
  } else if (value.isStorage()) {
    scan->has_local = scan->has_local || LocalStorage::from(value.toStorage()) != nullptr;
  } else if (value.isList() && may_hold_varying(value)) {
    for (const c10::IValue& entry : value.toListRef()) {
      scan_value(entry, scan);
    }
  }
}

}  // namespace

OperandScan scan_operands(c10::ArrayRef<c10::IValue> arguments) {
  OperandScan scan;
  for (const c10::IValue& value : arguments) {
    scan_value(value, &scan);
  }
  return scan;
}

Operands::Operands(const OperatorInfo& info, c10::ArrayRef<c10::IValue> arguments)
    : arguments_(arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& value = arguments[i];
    Varying varying{i, value.isList(), {}};
    if (!varying.is_list) {
      if (auto element = element_of(info, i, value)) {
        varying.elements.push_back(std::move(*element));
      }
    } else if (may_hold_varying(value)) {
      const auto entries = value.toListRef();
      for (std::size_t position = 0; position < entries.size(); ++position) {
        if (auto element = element_of(info, i, entries[position])) {
          element->position = position;
          varying.elements.push_back(std::move(*element));
        }
      }
    }
    if (!varying.elements.empty()) {
      varying_.push_back(std::move(varying));
    }
  }
}

std::optional<Operands::Element> Operands::element_of(const OperatorInfo& info,
                                                      std::size_t argument,
                                                      const c10::IValue& value) {
  Element element{};
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    if (!tensor.defined()) {
      return std::nullopt;
    }
    const bool is_written = writes(info, argument);
    if (LocalTensorImpl* impl = LocalTensorImpl::from(tensor)) {
      element.impl = impl;
      const bool may_merge = info.is_overwritten[argument] && impl->local_storage().can_replace() &&
                             impl->local_storage().has_data() && impl->covers_storage();
      element.by_geometry = may_merge || (info.reads_geometry_only && argument == 0);
      note_ranks(impl->ranks());
      locals_.push_back({impl, is_written, may_merge});
      storages_.push_back(&impl->local_storage());
      return element;
    }
    if (auto number = wrapped_number(tensor)) {
      element.number = *number;
      element.is_wrapped_number = true;
      note_ranks(partition_of(*number)->ranks());
      return element;
    }
    plain_.push_back(tensor);
    writes_plain_ = writes_plain_ || is_written;
    return std::nullopt;
  }
  if (value.isStorage()) {
    element.storage = LocalStorage::from(value.toStorage());
    if (element.storage == nullptr) {
      return std::nullopt;
    }
    note_ranks(element.storage->partition().ranks());
    storages_.push_back(element.storage);
    return element;
  }
  if (is_symbolic_number(value)) {
    element.number = value.toScalar();
    if (const RankPartition* partition = partition_of(element.number)) {
      note_ranks(partition->ranks());
      return element;
    }
  }
  return std::nullopt;
}

bool Operands::writes(const OperatorInfo& info, std::size_t argument) const {
  if (info.is_written[argument]) {
    return true;
  }
  for (const std::size_t hidden : info.hidden_writes) {
    if (hidden == argument) {
      return !info.hidden_write_switch || arguments_[*info.hidden_write_switch].toBool();
    }
  }
  return false;
}

void Operands::note_ranks(const RankSet& ranks) {
  if (ranks_ == nullptr) {
    ranks_ = &ranks;
  } else if (*ranks_ != ranks) {
    throw UsageError(str_cat("operands live on different ranks: one on ranks ", ranks_->to_string(),
                             ", another on ranks ", ranks.to_string(),
                             ". Make both over the same ranks, or bring one to the other's ranks "
                             "with `tensor_map`."));
  }
}

bool Operands::has_python_tensors() const {
  return std::ranges::any_of(
             locals_,
             [](const LocalOperand& operand) { return operand.impl->has_python_cohorts(); }) ||
         std::ranges::any_of(plain_, [](const at::Tensor& tensor) {
           return tensor.key_set().has(c10::DispatchKey::Python);
         });
}

const RankPartition& Operands::Element::partition() const {
  if (impl != nullptr) {
    return impl->partition();
  }
  if (storage != nullptr) {
    return storage->partition();
  }
  const RankPartition* partition = partition_of(number);
  if (partition == nullptr) {
    throw InternalError("a number that is the same on all ranks was taken for one that varies");
  }
  return *partition;
}

RankPartition Operands::meet_all(const RankPartition& start) const {
  RankPartition partition = start;
  for (const Varying& varying : varying_) {
    for (const Element& element : varying.elements) {
      const RankPartition& own =
          element.by_geometry ? element.impl->geometry_partition() : element.partition();
      if (own != partition) {
        partition = meet(partition, own);
      }
    }
  }
  return partition;
}

void Operands::bind(const RankPartition& partition) {
  for (Varying& varying : varying_) {
    for (Element& element : varying.elements) {
      if (element.impl != nullptr) {
        element.tensors = &element.impl->cohort_tensors();
      }
      const RankPartition& own = element.partition();
      if (!element.by_geometry || refines(partition, own)) {
        element.map.projection = project(partition, own);
        continue;
      }
      element.map.table.reserve(static_cast<std::size_t>(partition.num_cohorts()));
      for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
        element.map.table.push_back(own.cohort_of(partition.lowest_rank(cohort)));
      }
    }
  }
}

c10::IValue Operands::Element::on_cohort(std::int32_t cohort) const {
  const std::int32_t own = map[cohort];
  if (impl != nullptr) {
    return tensors->tensors[static_cast<std::size_t>(own)];
  }
  if (storage != nullptr) {
    return storage->storage(own);
  }
  const c10::Scalar value = number_on_cohort(number, own);
  if (!is_wrapped_number) {
    return value;
  }
  at::Tensor tensor = at::scalar_to_tensor(value);
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

c10::IValue Operands::list_on_cohort(const Varying& varying, std::int32_t cohort) const {
  const c10::IValue& original = arguments_[varying.argument];
  const auto entries = original.toListRef();
  // Symbolic ints are plain ints for one cohort, and kernels want them in a list of ints.
  c10::TypePtr type = original.toList().elementType();
  if (type->kind() == c10::TypeKind::SymIntType) {
    type = c10::IntType::get();
  }
  c10::impl::GenericList list(type);
  list.reserve(entries.size());
  const auto* element = varying.elements.begin();
  for (std::size_t position = 0; position < entries.size(); ++position) {
    if (element != varying.elements.end() && element->position == position) {
      list.push_back(element->on_cohort(cohort));
      ++element;
    } else {
      list.push_back(entries[position]);
    }
  }
  return list;
}

void Operands::fill(std::int32_t cohort, torch::jit::Stack* stack) const {
  const auto* varying = varying_.begin();
  for (std::size_t i = 0; i < arguments_.size(); ++i) {
    if (varying == varying_.end() || varying->argument != i) {
      stack->push_back(arguments_[i]);
      continue;
    }
    if (varying->is_list) {
      stack->push_back(list_on_cohort(*varying, cohort));
    } else {
      stack->push_back(varying->elements.front().on_cohort(cohort));
    }
    ++varying;
  }
}

}  // namespace polyrank
