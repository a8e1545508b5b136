#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/alike_tensors.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/results.h>
#include <polyrank/engine/whole_tensor.h>

#include <algorithm>
#include <bit>
#include <sstream>
#include <unordered_set>
#include <utility>

namespace polyrank {

namespace {

bool same_value(const c10::IValue& a, const c10::IValue& b) {
  if (a.isDouble() && b.isDouble()) {  // by bits, so that NaN agrees with itself
    return std::bit_cast<std::uint64_t>(a.toDouble()) == std::bit_cast<std::uint64_t>(b.toDouble());
  }
  return a.tagKind() == b.tagKind() && a == b;
}

bool is_int(const c10::IValue& value) { return value.isInt() || value.isSymInt(); }

}  // namespace

ResultCombiner::ResultCombiner(const c10::OperatorHandle& op, const OperatorInfo& info,
                               const Operands& operands, RankPartition partition)
    : op_(op), info_(info), operands_(operands), partition_(std::move(partition)) {}

c10::IValue ResultCombiner::combine(c10::ArrayRef<c10::IValue> values) {
  const c10::IValue& first = values.front();
  const bool any_tensor = std::any_of(values.begin(), values.end(),
                                      [](const c10::IValue& value) { return value.isTensor(); });
  if (any_tensor) {
    return combine_tensors(values);
  }
  if (first.isList()) {
    return combine_lists(values);
  }
  if (values.size() == 1) {
    return first;
  }
  if (std::all_of(values.begin(), values.end(), is_int)) {
    return combine_ints(values);
  }
  for (const c10::IValue& value : values) {
    if (!same_value(value, first)) {
      throw_differing(values);
    }
  }
  return first;
}

c10::IValue ResultCombiner::combine_lists(c10::ArrayRef<c10::IValue> values) {
  const std::size_t length = values.front().toListRef().size();
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (values[i].toListRef().size() != length) {
      throw DivergenceError(str_cat(
          c10::toString(op_.operator_name()), " returned lists of different lengths: ", length,
          " on ranks ", partition_.cohort(0).to_string(), " but ", values[i].toListRef().size(),
          " on ranks ", partition_.cohort(static_cast<std::int32_t>(i)).to_string(),
          ". Make the number of pieces the same on all ranks."));
    }
  }
  c10::TypePtr type = values.front().toList().elementType();
  std::vector<c10::IValue> entries;
  entries.reserve(length);
  bool any_symbolic = false;
  for (std::size_t position = 0; position < length; ++position) {
    std::vector<c10::IValue> column;
    column.reserve(values.size());
    for (const c10::IValue& value : values) {
      column.push_back(value.toListRef()[position]);
    }
    entries.push_back(combine(column));
    any_symbolic = any_symbolic || entries.back().isSymInt();
  }
  if (any_symbolic && type->kind() == c10::TypeKind::IntType) {
    type = c10::SymIntType::get();
  }
  c10::impl::GenericList list(type);
  list.reserve(entries.size());
  for (auto& entry : entries) {
    list.push_back(std::move(entry));
  }
  return list;
}

c10::IValue ResultCombiner::combine_ints(c10::ArrayRef<c10::IValue> values) const {
  std::vector<std::int64_t> ints;
  ints.reserve(values.size());
  for (const c10::IValue& value : values) {
    const auto known = value.isInt() ? std::optional<std::int64_t>(value.toInt())
                                     : value.toSymInt().maybe_as_int();
    if (!known) {
      throw UnsupportedOpError(str_cat(c10::toString(op_.operator_name()),
                                       " returned a symbolic int on ranks that differ."));
    }
    ints.push_back(*known);
  }
  const c10::SymInt combined = make_local_int(partition_, ints);
  if (const auto known = combined.maybe_as_int()) {
    return *known;
  }
  return combined;
}

at::Tensor ResultCombiner::combine_tensors(c10::ArrayRef<c10::IValue> values) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(values.size());
  for (const c10::IValue& value : values) {
    tensors.push_back(value.isNone() ? at::Tensor() : value.toTensor());
  }
  const auto is_defined = [](const at::Tensor& tensor) { return tensor.defined(); };
  if (std::none_of(tensors.begin(), tensors.end(), is_defined)) {
    return {};
  }
  if (!std::all_of(tensors.begin(), tensors.end(), is_defined)) {
    throw DivergenceError(str_cat(c10::toString(op_.operator_name()),
                                  " returned a tensor on some ranks and none on others."));
  }
  if (at::Tensor operand = operand_returned(tensors); operand.defined()) {
    return operand;
  }
  Placement placement = place(std::move(tensors));
  return LocalTensorImpl::make(std::move(placement.storage), placement.partition,
                               std::move(placement.tensors));
}

at::Tensor ResultCombiner::operand_returned(const std::vector<at::Tensor>& tensors) const {
  for (const LocalOperand& operand : operands_.locals()) {
    const CohortTensors& own = operand.impl->cohort_tensors();
    bool is_same = true;
    for (std::size_t i = 0; is_same && i < tensors.size(); ++i) {
      const std::int64_t rank = partition_.lowest_rank(static_cast<std::int32_t>(i));
      is_same = own.on_rank(rank).is_same(tensors[i]);
    }
    if (is_same) {
      return at::Tensor(c10::intrusive_ptr<c10::TensorImpl>::reclaim_copy(operand.impl));
    }
  }
  if (operands_.writes_plain()) {
    for (const at::Tensor& plain : operands_.plain()) {
      if (plain.is_same(tensors.front())) {
        return plain;
      }
    }
  }
  return {};
}

LocalStorage* ResultCombiner::source_of(const at::Tensor& tensor, std::int64_t rank) const {
  const c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  for (LocalStorage* candidate : operands_.storages()) {
    if (candidate->storage_on_rank(rank).unsafeGetStorageImpl() == storage) {
      return candidate;
    }
  }
  for (const auto& candidate : fresh_) {
    if (candidate->storage_on_rank(rank).unsafeGetStorageImpl() == storage) {
      return candidate.get();
    }
  }
  return nullptr;
}

const at::Tensor* ResultCombiner::plain_source(const std::vector<at::Tensor>& tensors) const {
  for (const at::Tensor& plain : operands_.plain()) {
    if (plain.has_storage() &&
        std::all_of(tensors.begin(), tensors.end(),
                    [&](const at::Tensor& tensor) { return tensor.is_alias_of(plain); })) {
      return &plain;
    }
  }
  return nullptr;
}

ResultCombiner::Placement ResultCombiner::place(std::vector<at::Tensor> tensors) {
  if (!std::ranges::all_of(tensors, is_strided)) {
    return place_whole(std::move(tensors));
  }
  c10::SmallVector<LocalStorage*, 8> sources(tensors.size(), nullptr);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    sources[i] = source_of(tensors[i], partition_.lowest_rank(static_cast<std::int32_t>(i)));
  }
  LocalStorage* source = sources.front();
  if (std::any_of(sources.begin(), sources.end(),
                  [&](const LocalStorage* other) { return other != source; })) {
    return place_mixed(sources, std::move(tensors));
  }
  if (source != nullptr) {
    return {c10::intrusive_ptr<LocalStorage>::reclaim_copy(source), partition_, std::move(tensors)};
  }
  if (const at::Tensor* plain = plain_source(tensors)) {
    auto storage =
        LocalStorage::make(RankPartition::uniform(partition_.ranks()), {plain->storage()});
    if (!info_.lifts_plain) {
      storage->set_borrowed();
    }
    fresh_.push_back(storage);
    return {std::move(storage), partition_, std::move(tensors)};
  }
  RankPartition partition = partition_;
  merge_without_data(&partition, &tensors);
  std::vector<c10::Storage> storages;
  storages.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    storages.push_back(tensor.storage());
  }
  fresh_.push_back(LocalStorage::make(partition, std::move(storages)));
  if (shares_memory_of_whole(tensors)) {
    fresh_.back()->set_whole();
  }
  return {fresh_.back(), std::move(partition), std::move(tensors)};
}

ResultCombiner::Placement ResultCombiner::place_whole(std::vector<at::Tensor> tensors) const {
  std::vector<c10::Storage> storages;
  storages.reserve(tensors.size());
  std::unordered_set<const c10::TensorImpl*> known;
  for (const at::Tensor& tensor : tensors) {
    if (!known.insert(tensor.unsafeGetTensorImpl()).second) {
      throw UnsupportedOpError(str_cat(c10::toString(op_.operator_name()),
                                       " returned one sparse tensor to ranks that differ. Clone it "
                                       "first."));
    }
    storages.push_back(storage_behind(tensor));
  }
  auto storage = LocalStorage::make(partition_, std::move(storages));
  storage->set_whole();
  return {std::move(storage), partition_, std::move(tensors)};
}

bool ResultCombiner::shares_memory_of_whole(const std::vector<at::Tensor>& tensors) const {
  return std::ranges::any_of(
             operands_.locals(),
             [](const LocalOperand& operand) { return operand.impl->is_whole(); }) &&
         std::ranges::any_of(tensors, [](const at::Tensor& tensor) {
           return tensor.has_storage() && tensor.storage().use_count() > 1;
         });
}

ResultCombiner::Placement ResultCombiner::place_mixed(c10::ArrayRef<LocalStorage*> sources,
                                                      std::vector<at::Tensor> tensors) {
  RankSet aliasing;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    LocalStorage* source = sources[i];
    if (source != nullptr && source->has_data()) {
      const RankSet& ranks = partition_.cohort(static_cast<std::int32_t>(i));
      source->pin(ranks);
      aliasing = aliasing.unite(ranks);
    }
  }
  const RankSet& all = partition_.ranks();
  std::vector<std::int64_t> labels;
  labels.reserve(static_cast<std::size_t>(all.size()));
  for (const std::int64_t rank : all) {
    labels.push_back(aliasing.contains(rank) ? rank : -1 - partition_.cohort_of(rank));
  }
  Placement placement{{}, RankPartition::from_labels(all, labels), {}};
  std::vector<c10::Storage> storages;
  for (std::int32_t cohort = 0; cohort < placement.partition.num_cohorts(); ++cohort) {
    const std::int64_t rank = placement.partition.lowest_rank(cohort);
    const auto old = static_cast<std::size_t>(partition_.cohort_of(rank));
    const bool aliases = aliasing.contains(rank);
    storages.push_back(aliases ? sources[old]->storage_on_rank(rank) : tensors[old].storage());
    placement.tensors.push_back(aliases ? alias_on(tensors[old], storages.back()) : tensors[old]);
  }
  placement.storage = LocalStorage::make(placement.partition, std::move(storages));
  placement.storage->pin(aliasing);
  fresh_.push_back(placement.storage);
  return placement;
}

void ResultCombiner::throw_differing(c10::ArrayRef<c10::IValue> values) const {
  std::vector<std::pair<std::string, RankSet>> found;  // value as text, ranks that hold it
  for (std::size_t i = 0; i < values.size(); ++i) {
    const RankSet& ranks = partition_.cohort(static_cast<std::int32_t>(i));
    const std::string text = str_cat(values[i]);
    const auto known = std::find_if(found.begin(), found.end(),
                                    [&](const auto& entry) { return entry.first == text; });
    if (known == found.end()) {
      found.emplace_back(text, ranks);
    } else {
      known->second = known->second.unite(ranks);
    }
  }
  constexpr std::size_t kShown = 4;
  std::ostringstream listed;
  for (std::size_t i = 0; i < std::min(found.size(), kShown); ++i) {
    const auto& [text, ranks] = found[i];
    listed << (i == 0 ? "" : ", ") << text << (ranks.size() == 1 ? " on rank " : " on ranks ")
           << ranks.to_string();
  }
  if (found.size() > kShown) {
    listed << ", … (" << found.size() << " values)";
  }
  const std::string name = c10::toString(op_.operator_name());
  throw DivergenceError(str_cat(
      name == "aten::_local_scalar_dense" ? "item(), or bool(), int() or float() of a tensor,"
                                          : name,
      " gives different values on different ranks: ", listed.str(),
      ". One program runs for all ranks and needs one value here. Keep the value in a tensor "
      "(torch.where instead of `if`), all-reduce it first, or run the program in the threads "
      "world (`polyrank run --world threads`)."));
}

}  // namespace polyrank
