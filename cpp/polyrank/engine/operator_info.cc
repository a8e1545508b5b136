#include <polyrank/engine/operator_info.h>

#include <algorithm>
#include <array>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>

namespace polyrank {

namespace {

// Batch statistics, which operators update in place though most schemas mark nothing: the two
// buffers of these names, while the switch of one of these names is true, or always where there is
// none. Excepted are operators whose names say that they don't.
constexpr std::array<std::string_view, 2> kStatistics = {"running_mean", "running_var"};
constexpr std::array<std::string_view, 2> kStatisticsSwitches = {"training", "use_input_stats"};
constexpr std::array<std::string_view, 4> kKeepStatistics = {"_backward", "_functional",
                                                             "_no_training", "_no_update"};

// Arguments that are written though the schema doesn't say so.
struct UndeclaredWrite {
  std::string_view op;
  std::string_view argument;
};
constexpr std::array kUndeclaredWrites = {
    UndeclaredWrite{"fsdp::all_gather_copy_in", "all_gather_output"},
};

bool is_undeclared_write(std::string_view op, std::string_view argument) {
  return std::ranges::any_of(kUndeclaredWrites, [&](const UndeclaredWrite& entry) {
    return entry.op == op && entry.argument == argument;
  });
}

// In-place operators that read nothing of what they write, so that ranks which held different
// values before hold the same after it.
constexpr std::array<std::string_view, 3> kOverwriting = {"aten::copy_", "aten::fill_",
                                                          "aten::zero_"};

// Change the metadata of what they write; the tag inplace_view names further ones. (addbmm_ gives
// what it writes the shape of the sum, where that is larger.)
constexpr std::array<std::string_view, 7> kChangesMetadata = {
    "aten::resize_",         "aten::resize_as_",  "aten::set_",   "aten::set_data",
    "aten::_resize_output_", "aten::as_strided_", "aten::addbmm_"};

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool holds_tensor(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::TensorType ||
         std::ranges::any_of(type->containedTypes(), holds_tensor);
}

bool is_generator(const c10::TypePtr& type) {
  if (const auto optional = type->cast<c10::OptionalType>()) {
    return is_generator(optional->getElementType());
  }
  return type->kind() == c10::TypeKind::GeneratorType;
}

bool is_tensor_list(const c10::TypePtr& type) {
  const auto list = type->cast<c10::ListType>();
  return list != nullptr && list->getElementType()->kind() == c10::TypeKind::TensorType;
}

// Whether a program registered the kernel in Python: the dispatcher tells file and line of each
// kernel.
bool is_registered_in_python(const c10::OperatorHandle& op) {
  constexpr std::array<std::string_view, 3> kKernels = {
      "CPU:", "CUDA:", "CompositeExplicitAutograd["};
  std::istringstream lines(op.dumpState());
  for (std::string line; std::getline(lines, line);) {
    if (std::ranges::any_of(kKernels, [&](auto kernel) { return line.starts_with(kernel); }) &&
        line.find(".py:") != std::string::npos && line.find("(inactive)") == std::string::npos) {
      return true;
    }
  }
  return false;
}

std::unordered_map<std::string, OperatorHandler>& handlers() {
  static std::unordered_map<std::string, OperatorHandler> table;
  return table;
}

}  // namespace

OperatorInfo::OperatorInfo(const c10::OperatorHandle& op)
    : num_arguments(op.schema().arguments().size()), num_returns(op.schema().returns().size()) {
  const c10::FunctionSchema& schema = op.schema();
  const std::string& name = schema.name();
  bool has_out_argument = false;
  for (std::size_t i = 0; i < num_arguments; ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    const bool written = (argument.alias_info() != nullptr && argument.alias_info()->isWrite()) ||
                         is_undeclared_write(name, argument.name());
    is_written.push_back(written);
    is_overwritten.push_back(argument.is_out() || (written && contains(kOverwriting, name)));
    writes_anything = writes_anything || written;
    has_out_argument = has_out_argument || argument.is_out();
    has_tensor_argument = has_tensor_argument || holds_tensor(argument.type());
    if (is_generator(argument.type())) {
      generator_argument = static_cast<int>(i);
    }
  }
  for (const auto& result : schema.returns()) {
    returns_tensor = returns_tensor || holds_tensor(result.type());
  }
  is_random = op.hasTag(at::Tag::nondeterministic_seeded);
  changes_metadata =
      has_out_argument || op.hasTag(at::Tag::inplace_view) || contains(kChangesMetadata, name);
  is_foreach = name.starts_with("aten::_foreach_") || name.starts_with("aten::_fused_");
  is_foreach = is_foreach && num_arguments > 0 && is_tensor_list(schema.arguments()[0].type());
  reads_geometry_only = name.ends_with("_like") || name.starts_with("aten::new_");
  is_of_python =
      !name.starts_with("aten::") && !name.starts_with("prims::") && is_registered_in_python(op);
  makes_like = reads_geometry_only && name != "aten::new_empty";
  lifts_plain = name == "aten::lift_fresh" || name == "aten::lift";
  find_hidden_writes(schema);
  handler = find_operator_handler(op);
}

void OperatorInfo::find_hidden_writes(const c10::FunctionSchema& schema) {
  const bool keeps_statistics = std::ranges::any_of(kKeepStatistics, [&](std::string_view part) {
    return schema.name().find(part) != std::string::npos;
  });
  for (std::size_t i = 0; i < num_arguments; ++i) {
    const std::string& argument = schema.arguments()[i].name();
    if (contains(kStatistics, argument) && !is_written[i] && !keeps_statistics) {
      hidden_writes.push_back(i);
    } else if (contains(kStatisticsSwitches, argument)) {
      hidden_write_switch = i;
    }
  }
  writes_anything = writes_anything || !hidden_writes.empty();
}

void register_operator_handler(const std::string& name, OperatorHandler handler) {
  handlers()[name] = handler;
}

OperatorHandler find_operator_handler(const c10::OperatorHandle& op) {
  const std::string& name = op.operator_name().name;
  const auto exact = handlers().find(name);
  if (exact != handlers().end()) {
    return exact->second;
  }
  const auto whole_namespace = handlers().find(name.substr(0, name.find("::") + 2));
  return whole_namespace == handlers().end() ? nullptr : whole_namespace->second;
}

}  // namespace polyrank
