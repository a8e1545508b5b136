"""The ranks of a DeviceMesh in another order than theirs: coordinates, group ranks and local ranks."""

import torch
import torch.distributed as dist
from report import report
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

dist.init_process_group("gloo")
rank = dist.get_rank()


def described(mesh):
    """All that a mesh says of the rank's place in it, and what its groups gather."""
    dims = range(mesh.ndim)
    groups = mesh.get_all_groups()
    gathered = []
    for group in groups:
        parts = [torch.zeros(1, dtype=torch.int64) for _ in range(group.size())]
        dist.all_gather(parts, torch.zeros(1, dtype=torch.int64) + rank, group=group)
        gathered.append(torch.cat(parts))
    return {
        "coordinate": list(mesh.get_coordinate()),
        "rank": mesh.get_rank(),
        "local ranks": [mesh.get_local_rank(dim) for dim in dims],
        "group ranks": [dist.get_rank(group) for group in groups],
        "ranks of groups": [group.rank() for group in groups],
        "first members": [dist.get_global_rank(group, 0) for group in groups],
        "places": [dist.get_group_rank(group, rank) for group in groups],
        "gathered": gathered,
    }


line = DeviceMesh("cpu", [2, 0, 3, 1], mesh_dim_names=("z",))
square = DeviceMesh("cpu", [[3, 1], [2, 0]], mesh_dim_names=("x", "y"))
transposed = DeviceMesh("cpu", torch.tensor([[0, 2], [1, 3]]), mesh_dim_names=("p", "q"))
with_one = init_device_mesh("cpu", (2, 1, 2), mesh_dim_names=("dp", "cp", "tp"))
meshes = {
    "line": line,
    "line, split": line._unflatten(0, (2, 2), ("u", "v")),
    "square": square,
    "square x": square["x"],
    "square y": square["y"],
    "square, flat": square._flatten("xy"),
    "transposed": transposed,
    "transposed, flat": transposed["p", "q"]._flatten("pq"),
    "with one": with_one,
    "with one, flat": with_one["dp", "cp"]._flatten("dp_cp"),
}
values = torch.arange(8.0)
on_line = distribute_tensor(values, line, [Shard(0)])
on_square = distribute_tensor(values, square, [Shard(0), Shard(0)])
report(
    meshes={name: described(mesh) for name, mesh in meshes.items()},
    alone=[line.get_local_rank(), square["x"].get_local_rank()],
    named=[square.get_local_rank("x"), square.get_local_rank("y")],
    local=[on_line, on_square],
    full=[on_line.full_tensor(), on_square.full_tensor()],
    redistributed=on_square.redistribute(placements=[Replicate(), Shard(0)]),
)
