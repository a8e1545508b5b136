#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <c10/core/DefaultDtype.h>
#include <polyrank/core/memo_table.h>
#include <polyrank/virtual_gpu/known_shapes.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace polyrank {

namespace {

// What there is to know of a tensor that has no data.
struct Shape {
  c10::DimVector sizes;
  c10::DimVector strides;
  at::ScalarType dtype;
};

bool makes_new_tensors_alone(const c10::FunctionSchema& schema) {
  const auto is_alias = [](const c10::Argument& one) { return one.alias_info() != nullptr; };
  const auto is_tensor = [](const c10::Argument& one) {
    return one.type()->kind() == c10::TypeKind::TensorType;
  };
  return schema.name().starts_with("aten::") && !schema.returns().empty() &&
         std::none_of(schema.arguments().begin(), schema.arguments().end(), is_alias) &&
         std::none_of(schema.returns().begin(), schema.returns().end(), is_alias) &&
         std::all_of(schema.returns().begin(), schema.returns().end(), is_tensor);
}

// Whether sizes, strides and dtype are all that a shape function can see of it.
bool is_plain(const at::Tensor& tensor) {
  const c10::TensorImpl& impl = *tensor.unsafeGetTensorImpl();
  return tensor.is_meta() && tensor.layout() == at::kStrided && !tensor.is_nested() &&
         !impl.has_symbolic_sizes_strides() && !impl.is_python_dispatch() && !tensor.is_conj() &&
         !tensor.is_neg() && !tensor._is_zerotensor();
}

// All that a shape function is given, as bytes.
class Given {
 public:
  Given(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments)
      : is_known_(add_all(op, arguments)) {}

  // Whether it can be told apart from all else that may be given.
  bool is_known() const { return is_known_; }
  const std::string& bytes() const { return bytes_; }
  bool has_storage_of(const at::Tensor& tensor) const {
    return std::find(storages_.begin(), storages_.end(), tensor.storage().unsafeGetStorageImpl()) !=
           storages_.end();
  }

 private:
  template <class T>
  void plain(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));  // NOLINT(*-reinterpret-cast)
  }
  void text(std::string_view value) {
    plain(value.size());
    bytes_.append(value);
  }
  template <class T>
  bool tagged(char tag, const T& value) {
    plain(tag);
    plain(value);
    return true;
  }
  bool add_all(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments);
  bool add(const at::Tensor& tensor);
  bool add(const c10::IValue& value);

  std::string bytes_;
  std::vector<const c10::StorageImpl*> storages_;
  bool is_known_;
};

bool Given::add_all(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments) {
  const c10::OperatorName& name = op.operator_name();
  text(name.name);
  text(name.overload_name);
  plain(c10::get_default_dtype_as_scalartype());
  plain(at::globalContext().deterministicAlgorithms());
  return std::all_of(arguments.begin(), arguments.end(),
                     [&](const c10::IValue& value) { return add(value); });
}

bool Given::add(const at::Tensor& tensor) {
  if (!tensor.defined()) {
    plain('u');
    return true;
  }
  if (!is_plain(tensor)) {
    return false;
  }
  tagged('t', tensor.scalar_type());
  plain(tensor.unsafeGetTensorImpl()->is_wrapped_number());
  plain(tensor.dim());
  for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) {
    plain(tensor.size(dim));
    plain(tensor.stride(dim));
  }
  storages_.push_back(tensor.storage().unsafeGetStorageImpl());
  return true;
}

bool Given::add(const c10::IValue& value) {
  if (value.isTensor()) {
    return add(value.toTensor());
  }
  if (value.isNone()) {
    plain('n');
    return true;
  }
  if (value.isInt()) {
    return tagged('i', value.toInt());
  }
  if (value.isDouble()) {
    return tagged('d', value.toDouble());
  }
  if (value.isBool()) {
    return tagged('b', value.toBool());
  }
  if (value.isDevice()) {
    tagged('v', value.toDevice().type());
    plain(value.toDevice().index());
    return true;
  }
  if (value.isString()) {
    plain('s');
    text(value.toStringView());
    return true;
  }
  if (value.isList()) {
    const c10::ArrayRef<c10::IValue> items = value.toListRef();
    tagged('l', items.size());
    return std::all_of(items.begin(), items.end(),
                       [&](const c10::IValue& item) { return add(item); });
  }
  return false;  // a symbolic number, a generator, a complex one
}

// What the results are, if it is all that there is to know of them.
std::optional<std::vector<Shape>> shapes_of(c10::ArrayRef<c10::IValue> results,
                                            const Given& given) {
  std::vector<Shape> shapes;
  std::vector<const c10::StorageImpl*> storages;
  for (const c10::IValue& result : results) {
    const at::Tensor& tensor = result.toTensor();
    if (!tensor.defined() || !is_plain(tensor) || tensor.storage_offset() != 0 ||
        tensor.unsafeGetTensorImpl()->is_wrapped_number() || given.has_storage_of(tensor)) {
      return std::nullopt;
    }
    const std::size_t num_bytes =
        at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.itemsize());
    const c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
    if (storage->nbytes() != num_bytes ||
        std::find(storages.begin(), storages.end(), storage) != storages.end()) {
      return std::nullopt;
    }
    storages.push_back(storage);
    shapes.push_back({.sizes = c10::DimVector(tensor.sizes()),
                      .strides = c10::DimVector(tensor.strides()),
                      .dtype = tensor.scalar_type()});
  }
  return shapes;
}

bool is_remembered(const c10::OperatorHandle& op) {
  thread_local std::unordered_map<const c10::FunctionSchema*, bool> known;
  const auto [found, is_new] = known.try_emplace(&op.schema());
  if (is_new) {
    found->second = makes_new_tensors_alone(op.schema());
  }
  return found->second;
}

}  // namespace

void call_or_remember(const c10::OperatorHandle& op, std::size_t num_arguments,
                      torch::jit::Stack* stack, const std::function<void()>& shape_function) {
  if (!is_remembered(op)) {
    shape_function();
    return;
  }
  const Given given(op, torch::jit::last(*stack, num_arguments));
  if (!given.is_known()) {
    shape_function();
    return;
  }
  thread_local MemoTable<std::string, std::optional<std::vector<Shape>>, std::hash<std::string>>
      table;
  bool has_run = false;
  const auto& shapes = table.get(given.bytes(), given.bytes().size(), [&] {
    shape_function();
    has_run = true;
    return shapes_of(torch::jit::last(*stack, op.schema().returns().size()), given);
  });
  if (has_run) {
    return;
  }
  if (!shapes) {
    shape_function();
    return;
  }
  torch::jit::drop(*stack, num_arguments);
  for (const Shape& shape : *shapes) {
    torch::jit::push(*stack, at::Tensor(at::detail::empty_strided_meta(shape.sizes, shape.strides,
                                                                       shape.dtype)));
  }
}

}  // namespace polyrank
