// The ranks of a lockstep world as a mesh, with a process group for each dimension.
#pragma once

#include <c10/core/SymInt.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace polyrank {

// One kind of parallelism: how many ranks share its work.
struct MeshDim {
  std::string name;
  std::int64_t size = 1;
};

// The world's ranks in row-major order, as torch.distributed's init_device_mesh() lays them out:
//
//   DeviceMesh mesh(world, {{"dp", 16}, {"tp", 4}});
//   all_reduce(x, {.group = mesh.get_group("tp")});
//
// Each group stands for its family, the fibers of the mesh; see NOTE [Group families].
//
// Thread rule: as LockstepWorld, which outlives the mesh.
class POLYRANK_API DeviceMesh {
 public:
  // Throws: UsageError if the sizes don't multiply to the world's size, or names are repeated.
  DeviceMesh(LockstepWorld& world, std::vector<MeshDim> dims);

  // The group of the ranks that differ in dimension `name` alone.
  // Throws: UsageError if there is no such dimension, naming those that there are.
  const ProcessGroup& get_group(const std::string& name);

  // The group of the ranks that differ in these dimensions alone, as of a flattened slice of the
  // mesh; the last one given varies fastest.
  // Throws: as get_group(), and if a name is repeated.
  const ProcessGroup& get_flattened_group(const std::vector<std::string>& names);

  // Number of ranks along dimension `name`.
  // Throws: as get_group().
  std::int64_t size(const std::string& name) const;

  // Each rank's coordinate in dimension `name`, a rank-dependent int.
  // Throws: as get_group().
  c10::SymInt get_local_rank(const std::string& name);

 private:
  std::size_t position_of(const std::string& name) const;

  LockstepWorld& world_;
  std::vector<MeshDim> dims_;
  std::map<std::vector<std::string>, ProcessGroup> groups_;  // made when first asked for
};

}  // namespace polyrank
