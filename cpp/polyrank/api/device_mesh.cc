#include <polyrank/api/device_mesh.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/group/group_family.h>
#include <polyrank/group/mesh_layout.h>

#include <utility>

namespace polyrank {

namespace {

std::string to_string(const std::vector<MeshDim>& dims) {
  std::string text;
  for (const MeshDim& dim : dims) {
    text += str_cat(text.empty() ? "" : ", ", "\"", dim.name, "\": ", dim.size);
  }
  return str_cat("{", text, "}");
}

}  // namespace

DeviceMesh::DeviceMesh(LockstepWorld& world, std::vector<MeshDim> dims)
    : world_(world), dims_(std::move(dims)) {
  std::int64_t num_ranks = 1;
  for (std::size_t dim = 0; dim < dims_.size(); ++dim) {
    num_ranks *= dims_[dim].size;
    if (position_of(dims_[dim].name) != dim) {
      throw UsageError(str_cat("the mesh ", to_string(dims_), " has two dimensions \"",
                               dims_[dim].name, "\"; give each a name of its own."));
    }
  }
  const std::int64_t world_size = world.world_group()->getSize();
  if (num_ranks != world_size || dims_.empty()) {
    throw UsageError(str_cat("the mesh ", to_string(dims_), " does not fit a world of ", world_size,
                             " ranks; the sizes of its dimensions must multiply to that."));
  }
}

std::size_t DeviceMesh::position_of(const std::string& name) const {
  for (std::size_t dim = 0; dim < dims_.size(); ++dim) {
    if (dims_[dim].name == name) {
      return dim;
    }
  }
  throw UsageError(
      str_cat("the mesh ", to_string(dims_), " has no dimension \"", name, "\"; name one of its."));
}

const ProcessGroup& DeviceMesh::get_group(const std::string& name) {
  return get_flattened_group({name});
}

const ProcessGroup& DeviceMesh::get_flattened_group(const std::vector<std::string>& names) {
  ProcessGroup& group = groups_[names];
  if (!group) {
    std::string label = "mesh";
    std::vector<std::int64_t> shape;
    shape.reserve(dims_.size());
    for (const MeshDim& dim : dims_) {
      shape.push_back(dim.size);
    }
    std::vector<std::size_t> positions;
    positions.reserve(names.size());
    for (const std::string& name : names) {
      label += str_cat("_", name);
      positions.push_back(position_of(name));
    }
    const GroupFamily family =
        GroupFamily::fibers(mesh_layout(shape, positions), world_.world_group()->getSize());
    std::vector<std::vector<std::int64_t>> groups;
    groups.reserve(static_cast<std::size_t>(family.num_groups()));
    for (std::int64_t index = 0; index < family.num_groups(); ++index) {
      groups.push_back(family.runs(index).to_vector());
    }
    group = world_.new_subgroups_by_enumeration(groups, label);
  }
  return group;
}

std::int64_t DeviceMesh::size(const std::string& name) const {
  return dims_[position_of(name)].size;
}

c10::SymInt DeviceMesh::get_local_rank(const std::string& name) {
  return get_rank(get_group(name));
}

}  // namespace polyrank
