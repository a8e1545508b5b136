#include <polyrank/bindings/bindings.h>
#include <polyrank/collective/charged_tensors.h>
#include <polyrank/collective/cost_model.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/collective_op.h>
#include <pybind11/stl.h>
#include <torch/csrc/jit/python/pybind_utils.h>
#include <torch/csrc/utils/pybind.h>

#include <string>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

const c10::FunctionSchema& schema_of(const std::string& op_name) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(op_name.c_str(), "");
  return op.schema();
}

torch::jit::Stack arguments_of(const std::string& op_name, const py::tuple& args,
                               const py::dict& kwargs) {
  return torch::jit::createStackForSchema(schema_of(op_name), torch::jit::tuple_slice(args),
                                          py::kwargs(kwargs), std::nullopt);
}

// What the operator returned in Python, as it would stand on the stack.
torch::jit::Stack results_of(const std::string& op_name, const py::object& result) {
  torch::jit::Stack results;
  const auto& returns = schema_of(op_name).returns();
  if (result.is_none() || returns.empty()) {
    return results;
  }
  if (returns.size() == 1) {
    results.push_back(torch::jit::toIValue(result, returns.front().type()));
    return results;
  }
  if (!py::isinstance<py::sequence>(result) || py::len(result) != returns.size()) {
    throw UsageError(
        str_cat(op_name, " returns ", returns.size(), " values; give what it returned."));
  }
  const auto values = py::cast<py::sequence>(result);
  for (std::size_t i = 0; i < returns.size(); ++i) {
    results.push_back(torch::jit::toIValue(values[i], returns[i].type()));
  }
  return results;
}

py::list charged_by_operator() {
  py::list rows;
  for (const CollectiveSpec& spec : collective_table()) {
    rows.append(py::make_tuple(spec.op_name, to_string(charged_tensors(spec))));
  }
  return rows;
}

py::object cost(const std::string& kind, const py::object& algorithm, std::int64_t group_size,
                std::int64_t payload) {
  for (const CostRow& row : cost_table()) {
    const bool is_wanted =
        algorithm.is_none() || algorithm.cast<std::string>() == to_string(row.algorithm);
    if (to_string(row.kind) != kind || !is_wanted) {
      continue;
    }
    if (const auto found = collective_cost(row.kind, row.algorithm, group_size, payload)) {
      return py::make_tuple(to_string(row.algorithm), found->steps, found->wire_bytes, row.formula,
                            row.source);
    }
  }
  return py::none();
}

}  // namespace

void init_collective_op(py::module_& module) {
  module.def("charged_tensors", &charged_by_operator,
             "Which tensors PyTorch counts, for each operator of the table.");
  module.def(
      "collective_process_group",
      [](const std::string& op_name, const py::tuple& args, const py::dict& kwargs) {
        return CollectiveOp::get_process_group(op_name, arguments_of(op_name, args, kwargs));
      },
      py::arg("op_name"), py::arg("args"), py::arg("kwargs"));
  module.def(
      "comm_tensor_size",
      [](const std::string& op_name, const py::object& result, const py::tuple& args,
         const py::dict& kwargs) {
        return CollectiveOp::get_comm_tensor_size(op_name, arguments_of(op_name, args, kwargs),
                                                  results_of(op_name, result));
      },
      py::arg("op_name"), py::arg("result"), py::arg("args"), py::arg("kwargs"));
  module.def(
      "collective_payload_bytes",
      [](const std::string& op_name, const py::object& result, const py::tuple& args,
         const py::dict& kwargs) {
        return CollectiveOp::payload_bytes(op_name, arguments_of(op_name, args, kwargs),
                                           results_of(op_name, result));
      },
      py::arg("op_name"), py::arg("result"), py::arg("args"), py::arg("kwargs"));
  module.def(
      "collective_work",
      [](const std::string& op_name, const py::object& result) {
        return CollectiveOp::get_work(op_name, results_of(op_name, result));
      },
      py::arg("op_name"), py::arg("result"));
  module.def("collective_cost", &cost, py::arg("kind"), py::arg("algorithm"), py::arg("group_size"),
             py::arg("payload_bytes"),
             "Algorithm, steps, wire bytes, formula and source; None where there is no such row.");
  module.def("generate_unique_id", &generate_unique_id);
}

}  // namespace polyrank
