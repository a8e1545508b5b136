#include <polyrank/bindings/bindings.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/lockstep/point_to_point.h>
#include <polyrank/world/rank_numbers.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace polyrank {

namespace py = pybind11;

namespace {

py::object position(ArgumentPosition position) {
  return position == kAbsent ? py::object(py::none()) : py::object(py::int_(int{position}));
}

py::dict as_dict(const CollectiveSpec& spec) {
  py::dict row;
  row["op_name"] = spec.op_name;
  row["kind"] = to_string(spec.kind);
  row["inputs"] = position(spec.inputs.position);
  row["input_packing"] = to_string(spec.inputs.packing);
  row["outputs"] = position(spec.outputs.position);
  row["output_packing"] = to_string(spec.outputs.packing);
  row["destination"] = to_string(spec.destination);
  row["returns"] = to_string(spec.returns);
  row["group"] = position(spec.group);
  row["group_size"] = position(spec.group_size);
  row["root"] = position(spec.root);
  row["reduce_op"] = position(spec.reduce_op);
  row["output_split_sizes"] = position(spec.output_split_sizes);
  row["input_split_sizes"] = position(spec.input_split_sizes);
  row["gather_dim"] = position(spec.gather_dim);
  row["shard_dim"] = position(spec.shard_dim);
  row["async_op"] = position(spec.async_op);
  row["tag"] = position(spec.tag);
  row["operations"] = position(spec.operations);
  row["sparse_indices"] = position(spec.sparse_indices);
  row["lockstep"] = spec.lockstep;
  return row;
}

py::list table() {
  py::list rows;
  for (const CollectiveSpec& spec : collective_table()) {
    rows.append(as_dict(spec));
  }
  return rows;
}

py::list report() {
  py::list rows;
  for (const CollectiveTotals& totals : collective_record().totals()) {
    py::dict row;
    row["kind"] = to_string(totals.kind);
    row["group_name"] = totals.group->name();
    row["group"] = totals.group->label();
    row["group_size"] = totals.group->size();
    row["num_groups"] = totals.num_groups;
    row["count"] = totals.num_launches;
    row["bytes"] = totals.input_bytes;
    row["rank_launches"] = totals.rank_launches;
    row["computed"] = totals.num_computed;
    if (totals.kind == CollectiveKind::kSend || totals.kind == CollectiveKind::kReceive) {
      row["ranks"] = totals.group->ranks().to_vector();  // among which messages go
    }
    rows.append(row);
  }
  return rows;
}

std::shared_ptr<const Group> known_group(const std::string& name, std::int64_t world_size) {
  return resolve_group(name, /*group_size=*/-1, world_size);
}

std::vector<std::vector<std::int64_t>> family(const std::string& name, std::int64_t world_size) {
  const GroupFamily family = known_group(name, world_size)->family();
  std::vector<std::vector<std::int64_t>> groups;
  for (std::int64_t group = 0; group < family.num_groups(); ++group) {
    const auto members = family.members(group);
    groups.emplace_back(members.begin(), members.end());
  }
  return groups;
}

std::map<std::int64_t, std::int64_t> group_ranks(const std::string& name, std::int64_t world_size,
                                                 const std::vector<std::int64_t>& ranks) {
  const GroupFamily family = known_group(name, world_size)->family();
  std::map<std::int64_t, std::int64_t> group_rank_of;
  for (const std::int64_t rank : ranks) {
    group_rank_of[rank] = family.position_of(rank);
  }
  return group_rank_of;
}

c10::SymInt own_group_ranks_by_name(const std::string& name, const RankSet& ranks) {
  return own_group_ranks(known_group(name, ranks.size())->family(), ranks);
}

c10::SymInt own_group_sizes_by_name(const std::string& name, const RankSet& ranks) {
  return own_group_sizes(known_group(name, ranks.size())->family(), ranks);
}

c10::SymInt group_ranks_by_name(const std::string& name, const RankSet& ranks,
                                const c10::SymInt& global_rank) {
  return group_ranks_of(known_group(name, ranks.size())->family(), ranks, global_rank);
}

c10::SymInt global_ranks_by_name(const std::string& name, const RankSet& ranks,
                                 const c10::SymInt& group_rank) {
  return global_ranks_of(known_group(name, ranks.size())->family(), ranks, group_rank);
}

// A group that was made while nobody took note: torch.distributed knows its members.
std::vector<std::int64_t> find_members(const std::string& name, std::int64_t* world_size) {
  const py::gil_scoped_acquire gil;
  const py::tuple found =
      py::module_::import("polyrank.lockstep_world.groups.process_groups").attr("members_of")(name);
  *world_size = found[1].is_none() ? *world_size : found[1].cast<std::int64_t>();
  return found[0].cast<std::vector<std::int64_t>>();
}

// Gives one launch arguments that c10d's own functions take as plain ints.
py::object call_with_rank_dependent(const py::function& function, const py::object& root,
                                    std::optional<std::int64_t> only_rank,
                                    const std::vector<c10::SymInt>& output_split_sizes,
                                    const std::vector<c10::SymInt>& input_split_sizes) {
  RankDependentArguments arguments;
  arguments.only_rank = only_rank;
  arguments.output_split_sizes = output_split_sizes;
  arguments.input_split_sizes = input_split_sizes;
  if (!root.is_none()) {
    arguments.root = root.cast<c10::SymInt>();
  }
  const RankDependentArgumentsGuard guard(std::move(arguments));
  return function();
}

void set_reduction_order_by_name(const std::string& name, std::int64_t num_channels,
                                 std::int64_t chunk_bytes, std::int64_t ranks_per_node) {
  ReductionAlgorithm algorithm = reduction_order_from_name(name);
  algorithm.num_channels = num_channels;
  algorithm.chunk_bytes = chunk_bytes;
  algorithm.ranks_per_node = ranks_per_node;
  set_reduction_order(algorithm);
}

auto reduction_order_as_set() {
  const ReductionAlgorithm algorithm = reduction_order();
  return std::tuple(std::string(to_string(algorithm.order)), algorithm.num_channels,
                    algorithm.chunk_bytes, algorithm.ranks_per_node);
}

void record_launch(const std::string& op_name, const std::string& group_name,
                   std::int64_t world_size, std::int64_t input_bytes) {
  const CollectiveSpec* spec = find_collective(op_name);
  if (spec == nullptr) {
    throw UsageError(str_cat("there is no collective \"", op_name,
                             "\"; _C.collective_table() lists those that there are"));
  }
  const auto group = known_group(group_name, world_size);
  collective_record().launch(
      {.kind = spec->kind,
       .group = group,
       .num_groups = group->family().num_groups(),
       .num_computed = group->family().num_groups(),
       .input_bytes = input_bytes,
       .op_name = spec->op_name,
       .cohorts = RankPartition::uniform(RankSet::first(world_size)),
       .inputs = {{.dtype = "uint8", .shape = {input_bytes}, .nbytes = input_bytes}}});
}

void forget_process_groups() {
  group_families().clear();
  mailbox().clear();
  collective_record().restart_sequences();
}

}  // namespace

void init_collective(py::module_& module) {
  set_find_members(&find_members);
  module.def("collective_table", &table, "One dict per operator that talks to other ranks.");
  module.def("report", &report, "Collectives launched so far: one dict per kind and group.");
  module.def("record_launch", &record_launch, py::arg("op_name"), py::arg("group_name"),
             py::arg("world_size"), py::arg("input_bytes"),
             "Counts what was launched without an operator: a collective of Python objects.");
  module.def("reset_report", [] { collective_record().reset(); }, "Forgets all launches.");
  module.def(
      "register_process_group",
      [](const std::string& name, const std::vector<std::int64_t>& members, std::int64_t world_size,
         const std::string& label, bool is_torchs) {
        group_families().add(name, members, world_size, label,
                             is_torchs ? GroupMaker::kTorch : GroupMaker::kProgram);
      },
      py::arg("name"), py::arg("members"), py::arg("world_size"), py::arg("label"),
      py::arg("is_torchs") = false,
      "Takes note of a process group that the program, or torch's own code, made.");
  module.def(
      "register_group_family",
      [](const std::string& name, const std::vector<std::string>& family) {
        group_families().declare_family(name, family);
      },
      py::arg("name"), py::arg("family"), "Says which process groups one of them stands for.");
  module.def("clear_process_groups", &forget_process_groups,
             "Forgets all process groups, and messages that nobody received.");
  module.def("call_with_rank_dependent", &call_with_rank_dependent, py::arg("function"),
             py::arg("root") = py::none(), py::arg("only_rank") = py::none(),
             py::arg("output_split_sizes") = std::vector<c10::SymInt>{},
             py::arg("input_split_sizes") = std::vector<c10::SymInt>{},
             "Calls a function that launches a collective, with arguments that ranks differ in.");
  module.def("set_reduction_order", &set_reduction_order_by_name, py::arg("name"),
             py::arg("channels"), py::arg("chunk_bytes"), py::arg("node_size"),
             R"(How reductions fold: "rank", "tree", "gloo" and so on.)");
  module.def("reduction_order", &reduction_order_as_set,
             "How reductions fold: what set_reduction_order() takes.");
  module.def("group_family", &family, py::arg("name"), py::arg("world_size"),
             "All groups that act when the program names this one.");
  module.def("group_ranks", &group_ranks, py::arg("name"), py::arg("world_size"), py::arg("ranks"),
             "Each rank's group rank in its group of the family, or -1.");
  module.def("own_ranks", &own_ranks, py::arg("ranks"), "Each rank itself.");
  module.def("own_group_sizes", &own_group_sizes_by_name, py::arg("name"), py::arg("ranks"));
  module.def("own_group_ranks", &own_group_ranks_by_name, py::arg("name"), py::arg("ranks"),
             "Each rank's group rank in its group of the family, or -1: one number.");
  module.def("group_ranks_of", &group_ranks_by_name, py::arg("name"), py::arg("ranks"),
             py::arg("global_rank"), "The group rank of `global_rank` in each rank's group.");
  module.def("global_ranks_of", &global_ranks_by_name, py::arg("name"), py::arg("ranks"),
             py::arg("group_rank"), "The global rank of `group_rank` in each rank's group.");
}

}  // namespace polyrank
