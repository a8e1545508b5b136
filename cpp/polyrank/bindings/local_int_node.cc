#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/python_caller.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/number_hooks.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/csrc/utils/python_symnode.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

using NodeClass = py::class_<LocalNode, c10::SymNodeImpl, c10::intrusive_ptr<LocalNode>>;

// --- Operands ----------------------------------------------------------------------------------

// What Python gives as an operand: a node, a constant of PyTorch's, or a plain number.
c10::SymNode to_node(LocalNode& self, py::handle operand) {
  if (py::isinstance<c10::SymNodeImpl>(operand)) {
    return operand.cast<c10::SymNode>();
  }
  if (PyBool_Check(operand.ptr()) != 0) {
    return self.wrap_bool(operand.cast<bool>());
  }
  if (PyFloat_Check(operand.ptr()) != 0) {
    return self.wrap_float(operand.cast<double>());
  }
  auto plain = py::reinterpret_borrow<py::object>(operand);
  if (PyLong_Check(operand.ptr()) == 0 && py::hasattr(operand, "maybe_as_int")) {
    plain = operand.attr("maybe_as_int")();
  }
  if (PyLong_Check(plain.ptr()) == 0) {
    throw UnsupportedOpError(str_cat("a rank-dependent number meets something else: ", self.str(),
                                     " and ", py::repr(operand).cast<std::string>(),
                                     ". Operands can be numbers and their nodes."));
  }
  return self.wrap_int(plain.cast<std::int64_t>());
}

template <BinaryOp op>
c10::SymNode binary(LocalNode& self, py::handle other) {
  return self.binary(op, to_node(self, other));
}

template <CompareOp op>
c10::SymNode compare(LocalNode& self, py::handle other) {
  return self.compare(op, to_node(self, other));
}

template <UnaryOp op>
c10::SymNode unary(LocalNode& self) {
  return self.unary(op);
}

c10::SymNode sym_sum(LocalNode& self, const py::iterable& terms) {
  std::vector<c10::SymNode> nodes;
  for (const py::handle term : terms) {
    nodes.push_back(to_node(self, term));
  }
  return self.sym_sum(nodes);
}

c10::SymNode sym_ite(LocalNode& self, py::handle then_value, py::handle else_value) {
  return self.sym_ite(to_node(self, then_value), to_node(self, else_value));
}

c10::SymNode round(const LocalNode& self, std::optional<std::int64_t> num_digits) {
  return num_digits ? self.round_to_digits(*num_digits) : self.unary(UnaryOp::kRound);
}

// --- Ranks and values --------------------------------------------------------------------------

template <typename T>
LocalNumber<T> from_ranks(const std::map<std::int64_t, T>& value_of_rank) {
  std::vector<std::int64_t> ranks;
  c10::SmallVector<T, 8> values;
  for (const auto& [rank, value] : value_of_rank) {
    ranks.push_back(rank);
    values.push_back(value);
  }
  return LocalNumber<T>(RankPartition::identity(RankSet::of(ranks)),
                        {values.data(), values.size()});
}

template <typename Node, typename T>
c10::intrusive_ptr<Node> from_values(const std::map<std::int64_t, T>& value_of_rank) {
  return c10::make_intrusive<Node>(from_ranks(value_of_rank));
}

py::dict value_of_rank(const LocalNode& node) {
  py::dict values;
  const RankPartition& partition = node.partition();
  std::visit(
      [&](const auto& number) {
        std::int64_t position = 0;
        for (const std::int64_t rank : partition.ranks()) {
          values[py::int_(rank)] = py::cast(number.value(partition.cohort_at(position++)));
        }
      },
      node.number());
  return values;
}

py::tuple reduce(const py::object& self) {
  return py::make_tuple(py::type::of(self), py::make_tuple(self.attr("_local_ints")));
}

// An int that is the same on all ranks is a constant, as with PyTorch's LocalIntNode.
py::object make_local_int_node(const py::handle& /*type*/,
                               const std::map<std::int64_t, std::int64_t>& local_ints) {
  LocalInt number = from_ranks(local_ints);
  if (number.is_uniform()) {
    return py::module_::import("polyrank.numbers.local_int_node")
        .attr("ConstantIntNode")(number.value(0));
  }
  return py::cast(c10::make_intrusive<LocalIntNode>(std::move(number)));
}

// A constructor that may return an object of another class: the call operator of the class's class.
py::object local_int_node_metaclass() {
  const py::handle type(reinterpret_cast<PyObject*>(&PyType_Type));
  const py::handle base(reinterpret_cast<PyObject*>(py::detail::get_internals().default_metaclass));
  py::object metaclass = type("LocalIntNodeType", py::make_tuple(base), py::dict());
  metaclass.attr("__call__") = py::cpp_function(&make_local_int_node, py::name("__call__"),
                                                py::is_method(metaclass), py::arg("local_ints"));
  return metaclass;
}

// --- Methods -----------------------------------------------------------------------------------

// Under the names that torch.SymInt and its kin ask for. What is not here is inherited from
// torch._C._SymNode. Those that are there too take plain numbers and PyTorch's constants here.
void def_binary_methods(NodeClass& type) {
  const py::arg other("other");
  type.def("add", &binary<BinaryOp::kAdd>, other)
      .def("sub", &binary<BinaryOp::kSub>, other)
      .def("mul", &binary<BinaryOp::kMul>, other)
      .def("truediv", &binary<BinaryOp::kTrueDiv>, other)
      .def("int_truediv", &binary<BinaryOp::kTrueDiv>, other)
      .def("float_truediv", &binary<BinaryOp::kTrueDiv>, other)
      .def("floordiv", &binary<BinaryOp::kFloorDiv>, other)
      .def("int_floordiv", &binary<BinaryOp::kFloorDiv>, other)
      .def("mod", &binary<BinaryOp::kMod>, other)
      .def("pow", &binary<BinaryOp::kPow>, other)
      .def("pow_by_natural", &binary<BinaryOp::kPow>, other)
      .def("float_pow", &binary<BinaryOp::kFloatPow>, other)
      .def("sym_min", &binary<BinaryOp::kMin>, other)
      .def("sym_max", &binary<BinaryOp::kMax>, other)
      .def("sym_and", &binary<BinaryOp::kBitwiseAnd>, other)
      .def("sym_or", &binary<BinaryOp::kBitwiseOr>, other)
      .def("bitwise_and", &binary<BinaryOp::kBitwiseAnd>, other)
      .def("bitwise_or", &binary<BinaryOp::kBitwiseOr>, other)
      .def("bitwise_xor", &binary<BinaryOp::kBitwiseXor>, other)
      .def("lshift", &binary<BinaryOp::kLeftShift>, other)
      .def("rshift", &binary<BinaryOp::kRightShift>, other)
      .def("eq", &compare<CompareOp::kEq>, other)
      .def("ne", &compare<CompareOp::kNe>, other)
      .def("lt", &compare<CompareOp::kLt>, other)
      .def("le", &compare<CompareOp::kLe>, other)
      .def("gt", &compare<CompareOp::kGt>, other)
      .def("ge", &compare<CompareOp::kGe>, other);
}

void def_unary_methods(NodeClass& type) {
  type.def("abs", &unary<UnaryOp::kAbs>)
      .def("pos", &unary<UnaryOp::kPos>)
      .def("trunc", &unary<UnaryOp::kTrunc>)
      .def("sym_int", &unary<UnaryOp::kTrunc>)
      .def("is_integer", &unary<UnaryOp::kIsInteger>)
      .def("sym_sqrt", &unary<UnaryOp::kSqrt>)
      .def("sym_cos", &unary<UnaryOp::kCos>)
      .def("sym_cosh", &unary<UnaryOp::kCosh>)
      .def("sym_sin", &unary<UnaryOp::kSin>)
      .def("sym_sinh", &unary<UnaryOp::kSinh>)
      .def("sym_tan", &unary<UnaryOp::kTan>)
      .def("sym_tanh", &unary<UnaryOp::kTanh>)
      .def("sym_asin", &unary<UnaryOp::kAsin>)
      .def("sym_acos", &unary<UnaryOp::kAcos>)
      .def("sym_atan", &unary<UnaryOp::kAtan>)
      .def("sym_log2", &unary<UnaryOp::kLog2>);
}

void def_other_methods(NodeClass& type) {
  type.def("round", &round, py::arg("ndigits") = py::none())
      .def("sym_sum", &sym_sum, py::arg("other"))
      .def("wrap_int", &LocalNode::wrap_int, py::arg("num"))
      .def("sym_ite", &sym_ite, py::arg("then_value"), py::arg("else_value"))
      .def("maybe_as_int", &LocalNode::maybe_as_int)
      .def("statically_known_true", &LocalNode::statically_known_true)
      .def("_str", &LocalNode::str)
      .def("str", &LocalNode::str)
      .def("__str__", &LocalNode::str)
      .def("__repr__", &LocalNode::str)
      .def("__reduce__", &reduce)
      .def_property_readonly("_local_ints", &value_of_rank, "The value of each rank.");
}

// --- PyTorch's wrappers ------------------------------------------------------------------------

const c10::SymNodeImpl* behind_python(const c10::SymNodeImpl& node) {
  const auto* wrapper = dynamic_cast<const torch::impl::PythonSymNodeImpl*>(&node);
  if (wrapper == nullptr) {
    return nullptr;
  }
  const py::gil_scoped_acquire gil;
  const py::handle object = wrapper->getPyObj();
  return py::isinstance<c10::SymNodeImpl>(object) ? object.cast<c10::SymNodeImpl*>() : nullptr;
}

}  // namespace

void init_local_int_node(py::module_& module) {
  number_hooks().caller = &python_caller;
  module.def("set_acting_files", &set_acting_files, py::arg("acting"), py::arg("omit"),
             py::arg("keep"));
  number_hooks().behind_python = &behind_python;

  NodeClass node(module, "LocalNode", "A number that differs between ranks, of any kind.");
  def_binary_methods(node);
  def_unary_methods(node);
  def_other_methods(node);
  const py::class_<LocalIntNode, LocalNode, c10::intrusive_ptr<LocalIntNode>> int_node(
      module, "LocalIntNode", py::metaclass(local_int_node_metaclass()),
      "An int that differs between ranks: the node of a SymInt.");
  py::class_<LocalFloatNode, LocalNode, c10::intrusive_ptr<LocalFloatNode>>(
      module, "LocalFloatNode", "A float that differs between ranks: the node of a SymFloat.")
      .def(py::init(&from_values<LocalFloatNode, double>), py::arg("local_floats"));
  py::class_<LocalBoolNode, LocalNode, c10::intrusive_ptr<LocalBoolNode>>(
      module, "LocalBoolNode", "A bool that differs between ranks: the node of a SymBool.")
      .def(py::init(&from_values<LocalBoolNode, bool>), py::arg("local_bools"));
}

}  // namespace polyrank
