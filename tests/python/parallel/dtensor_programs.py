"""DTensor programs that run unchanged in real processes and in lockstep.

Values are small integers where they are summed over ranks, so that results are exact in any order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.distributed.tensor as dtensor
from collectives.programs import Suite
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Placement,
    Replicate,
    Shard,
    distribute_tensor,
)
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.experimental import context_parallel, local_map
from torch.distributed.tensor.placement_types import _StridedShard

WORLD_SIZE = 4

Tensors = list[torch.Tensor]
Make = Callable[[Callable[[int], torch.Tensor]], torch.Tensor]
Program = Callable[[Make], Tensors]

PROGRAMS: dict[str, Program] = {}


def program(name: str, *arguments: object) -> Callable[[Callable[..., Tensors]], Callable]:
    """Name a program; with arguments, one more of the same function."""

    def add(function: Callable[..., Tensors]) -> Callable[..., Tensors]:
        assert name not in PROGRAMS, name
        PROGRAMS[name] = lambda make: function(make, *arguments)
        return function

    return add


def add(function: Callable[..., Tensors], label: str, *arguments: object) -> None:
    program(f"{function.__name__}[{label}]", *arguments)(function)


def mesh_of(*shape: int) -> DeviceMesh:
    return init_device_mesh("cpu", shape, mesh_dim_names=tuple("abcd"[: len(shape)]))


def numbers(*shape: int) -> torch.Tensor:
    """Distinct integers, the same on all ranks."""
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape)


def parts(tensor: DTensor) -> Tensors:
    """What a rank holds, and the whole."""
    return [tensor.to_local(), tensor.full_tensor()]


# --- Distribute and redistribute ----------------------------------------------------------------

ONE_DIM: tuple[Placement, ...] = (Replicate(), Shard(0), Shard(1))
# Rows and columns that do not divide, that leave ranks with nothing, and that do divide.
SHAPES = {"uneven": (10, 7), "fewer_than_ranks": (3, 5), "even": (8, 4)}


def redistribute(make: Make, mesh_shape: tuple[int, ...], shape: tuple[int, ...]) -> Tensors:
    mesh = mesh_of(*mesh_shape)
    choices = list(itertools.product(ONE_DIM, repeat=mesh.ndim))
    result: Tensors = []
    for source, target in itertools.product(choices, choices):
        result += parts(distribute_tensor(numbers(*shape), mesh, source).redistribute(mesh, target))
    return result


for label, shape in SHAPES.items():
    add(redistribute, f"1d-{label}", (4,), shape)
    add(redistribute, f"2d-{label}", (2, 2), shape)


def redistribute_partial(make: Make, op: str, shape: tuple[int, ...]) -> Tensors:
    mesh = mesh_of(4)
    local = make(lambda rank: numbers(*shape) * (rank + 1))
    result: Tensors = []
    for target in ONE_DIM:
        result += parts(DTensor.from_local(local, mesh, [Partial(op)]).redistribute(mesh, [target]))
    return result


for op, (label, shape) in itertools.product(("sum", "min", "max", "product"), SHAPES.items()):
    add(redistribute_partial, f"{op}-{label}", op, shape)


@program("redistribute_a_dim_sharded_twice")
def sharded_twice(make: Make) -> Tensors:
    # Ranks of one row hold more than those of the other.
    mesh = mesh_of(2, 2)
    results = []
    for size in (7, 5, 3, 1):
        tensor = distribute_tensor(numbers(size), mesh, [Shard(0), Shard(0)])
        results += parts(tensor)
        for target in itertools.product((Shard(0), Replicate()), repeat=2):
            results += parts(tensor.redistribute(placements=target))
    return results


@program("strided_shard")
def strided_shard(make: Make) -> Tensors:
    mesh = mesh_of(2, 2)
    strided = [_StridedShard(0, split_factor=2), Shard(0)]
    tensor = DTensor.from_local(make(lambda rank: numbers(2, 3) + 10 * rank), mesh, strided)
    return [*parts(tensor), *parts(tensor.redistribute(mesh, [Shard(1), Replicate()]))]


@program("meshes_of_3_and_4_dims")
def many_dims(make: Make) -> Tensors:
    result: Tensors = []
    for shape in ((2, 1, 2), (1, 2, 1, 2)):
        mesh = mesh_of(*shape)
        placements = [Shard(i % 2) for i in range(mesh.ndim)]
        tensor = distribute_tensor(numbers(5, 6), mesh, placements)
        result += parts(tensor)
        result += parts(tensor.redistribute(mesh, placements[::-1]))
    return result


@program("submeshes")
def submeshes(make: Make) -> Tensors:
    mesh = mesh_of(2, 2)
    result: Tensors = []
    for name in ("a", "b"):
        result += parts(distribute_tensor(numbers(5, 3), mesh[name], [Shard(0)]))
    flat = mesh["a", "b"]._flatten("ab")
    return [*result, *parts(distribute_tensor(numbers(7), flat, [Shard(0)]))]


@program("from_local_uneven")
def from_local_uneven(make: Make) -> Tensors:
    local = make(lambda rank: numbers(rank + 1, 2) + 100 * rank)
    tensor = DTensor.from_local(local, mesh_of(4), [Shard(0)], shape=(10, 2), stride=(2, 1))
    return [tensor.to_local(), (tensor * 2).to_local()]


# --- Operators ----------------------------------------------------------------------------------

# Name -> function of an 8 x 8 matrix of integers.
OPERATORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "add": lambda x: x + x * 2,
    "matmul": lambda x: x @ x.t(),
    "sum": lambda x: x.sum(),
    "sum_rows": lambda x: x.sum(0),
    "max": lambda x: x.amax(1),
    "softmax": lambda x: (x / 10).softmax(-1),
    "layer_norm": lambda x: torch.nn.functional.layer_norm(x, (8,)),
    "reshape": lambda x: x.reshape(4, 2, 8),
    "transpose": lambda x: x.t().contiguous(),
    "slice": lambda x: x[1:5, ::2],
    "cat": lambda x: torch.cat([x, x], 1),
    "stack": lambda x: torch.stack([x, x]),
    "chunk": lambda x: x.chunk(3, 1)[1] * 2,
    "argmax": lambda x: x.argmax(1),
    "topk": lambda x: x.topk(2, 1).values,
    "cumsum": lambda x: x.cumsum(0),
    "where": lambda x: torch.where(x > 20, x, -x),
    "gelu": lambda x: torch.nn.functional.gelu(x / 40),
    "masked_fill": lambda x: x.masked_fill(x > 5, 0.0),
    "norm": lambda x: torch.linalg.vector_norm(x),
    "in_place": lambda x: x.clone().mul_(3).add_(1),
}


def operator(make: Make, name: str) -> Tensors:
    mesh = mesh_of(4)
    result: Tensors = []
    for placement in ONE_DIM:
        result += parts(OPERATORS[name](distribute_tensor(numbers(8, 8), mesh, [placement])))
    return result


for name in OPERATORS:
    add(operator, name, name)


@program("gradients")
def gradients(make: Make) -> Tensors:
    mesh = mesh_of(2, 2)
    x = distribute_tensor(numbers(6, 4), mesh, [Shard(0), Replicate()]).requires_grad_()
    w = distribute_tensor(numbers(4, 5), mesh, [Replicate(), Shard(1)]).requires_grad_()
    (x @ w).relu().sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    return [*parts(x.grad), *parts(w.grad)]


@program("embedding_sharded_over_the_vocabulary")
def embedding(make: Make) -> Tensors:
    mesh = mesh_of(4)
    weight = distribute_tensor(numbers(10, 3), mesh, [Shard(0)]).requires_grad_()
    index = distribute_tensor(torch.tensor([[0, 9, 3], [4, 4, 7]]), mesh, [Replicate()])
    found = torch.nn.functional.embedding(index, weight)
    whole = found.redistribute(mesh, [Replicate()])
    whole.sum().backward()
    assert weight.grad is not None
    return [*parts(whole), *parts(weight.grad)]


@program("local_map")
def mapped(make: Make) -> Tensors:
    mesh = mesh_of(4)
    double = local_map(lambda x: x * 2 + x.shape[0], out_placements=[Shard(0)], device_mesh=mesh)
    return parts(double(distribute_tensor(numbers(8, 2), mesh, [Shard(0)])))


@program("factories")
def factories(make: Make) -> Tensors:
    mesh = mesh_of(4)
    ones = dtensor.ones(6, 3, device_mesh=mesh, placements=[Shard(0)])
    full = dtensor.full((5,), 3.0, device_mesh=mesh, placements=[Shard(0)])
    return [*parts(ones), *parts(full), *parts(dtensor.zeros(4, 4, device_mesh=mesh))]


@program("random")
def random(make: Make) -> Tensors:
    mesh = mesh_of(4)
    torch.manual_seed(3)
    dropped = torch.nn.functional.dropout(distribute_tensor(numbers(8, 3), mesh, [Shard(0)]), 0.5)
    normal = distribute_tensor(numbers(8, 3), mesh, [Replicate()]).normal_()
    return [*parts(dropped), *parts(normal)]


@program("comm_debug_mode")
def comm_debug_mode(make: Make) -> Tensors:
    mesh = mesh_of(4)
    x = distribute_tensor(numbers(8, 4), mesh, [Shard(0)])
    with CommDebugMode() as counts:
        x.redistribute(mesh, [Replicate()])
        (x.t() @ x).redistribute(mesh, [Replicate()])
    by_name = sorted((str(op), count) for op, count in counts.get_comm_counts().items() if count)
    return [torch.tensor([len(by_name), *(count for _, count in by_name)])]


@program("equality")
def equality(make: Make) -> Tensors:
    mesh = mesh_of(4)
    ones = DTensor.from_local(torch.ones(2, 3), mesh, [Shard(0)])
    other = DTensor.from_local(make(lambda rank: torch.ones(2, 3) + (rank == 2)), mesh, [Shard(0)])
    partial = DTensor.from_local(torch.full((8, 3), 0.25), mesh, [Partial()])
    answers = [
        torch.equal(ones, ones.clone()),
        torch.equal(ones, other),
        torch.equal(other, other.redistribute(placements=[Replicate()])),
        torch.equal(partial, ones),
        torch.equal(ones, other[:4]),
    ]
    return [torch.tensor(answers)]


@program("distribute_from_another_rank")
def distribute_from_another_rank(make: Make) -> Tensors:
    whole = make(lambda rank: numbers(8, 3) * (rank + 1))
    return [
        *parts(distribute_tensor(whole, mesh_of(4), [Shard(0)], src_data_rank=2)),
        *parts(distribute_tensor(whole, mesh_of(2, 2), [Shard(1), Shard(0)], src_data_rank=1)),
    ]


@program("context_parallel_buffers")
def context_parallel_buffers(make: Make) -> Tensors:
    # Its ring attention has no CPU kernels; what it does to the sequence around it has.
    mesh = mesh_of(4)
    x, y = numbers(16, 3), numbers(2, 16) + 1
    with context_parallel(mesh, buffers=[x, y], buffer_seq_dims=[0, 1]):
        pieces = [x.clone(), y.clone()]
    return [*pieces, x, y]


def _without_groups(program: Program) -> Callable[[Make, object], Tensors]:
    return lambda make, _groups: program(make)


SUITE = Suite({name: _without_groups(program) for name, program in PROGRAMS.items()}, dict)
