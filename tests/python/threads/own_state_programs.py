"""Programs that change what PyTorch keeps once a process, each rank in its own way.

They run unchanged in real processes, where nobody sees what another rank set.
"""

from __future__ import annotations

import builtins
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from collectives.programs import Suite
from torch import nn
from torch._decomp import global_decomposition_table, register_decomposition
from torch.autograd import forward_ad
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.experimental import implicit_replication
from torch.distributed.tensor.parallel import (
    RowwiseParallel,
    loss_parallel,
    parallelize_module,
)
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.utils import parametrize
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils import checkpoint

Tensors = list[torch.Tensor]
Program = Callable[[], Tensors]

PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    """List a program under its name."""
    assert function.__name__ not in PROGRAMS
    PROGRAMS[function.__name__] = function
    return function


def local_and_full(tensor: DTensor) -> Tensors:
    return [tensor.to_local().detach().clone(), tensor.full_tensor().detach().clone()]


@program
def an_embedding_in_rows_and_then_sharded() -> Tensors:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    results = []
    for rows in (8, 7, 5, 3):
        model = nn.Sequential(nn.Embedding(rows, 4))
        with torch.no_grad():
            model[0].weight.copy_(torch.arange(rows * 4.0).view(rows, 4))
        parallelize_module(model, mesh["tp"], {"0": RowwiseParallel(input_layouts=Replicate())})
        fully_shard(model, mesh=mesh["dp"])
        model(torch.arange(rows)).sum().backward()
        weight = model[0].weight
        results += [*local_and_full(weight), *local_and_full(weight.grad)]
    return results


@program
def hooks_of_all_modules_and_optimizers() -> Tensors:
    counts = torch.zeros(3)

    def counting(place: int) -> Callable[..., None]:
        def hook(*_: object) -> None:
            counts[place] += 1

        return hook

    handles = [
        register_module_forward_hook(counting(0)),
        register_module_parameter_registration_hook(counting(1)),
        register_optimizer_step_post_hook(counting(2)),
    ]
    dist.barrier()
    model = nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    dist.barrier()
    for handle in handles:
        handle.remove()
    dist.barrier()
    nn.Linear(2, 2)(torch.ones(1, 2))
    return [counts]


@program
def what_contexts_set() -> Tensors:
    rank = dist.get_rank()
    model = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Identity())
    mesh = init_device_mesh("cpu", (4,))
    sharded = distribute_tensor(torch.arange(4.0), mesh, [Shard(0)])
    flags = []
    with checkpoint.set_checkpoint_early_stop(rank % 2 == 0):
        dist.barrier()
        flags.append(checkpoint._enable_checkpoint_early_stop)
    if rank == 1:
        with parametrize.cached(), forward_ad.dual_level():
            dist.barrier()
            flags += [model.weight is model.weight, forward_ad._current_level >= 0]
    else:
        dist.barrier()
        flags += [model.weight is model.weight, forward_ad._current_level >= 0]
    with implicit_replication():
        dist.all_reduce(torch.ones(1))
        results = [(sharded + torch.ones(4)).full_tensor()]
    return [*results, torch.tensor(flags)]


@program
def losses_in_parallel() -> Tensors:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    results = []
    for step in range(2):
        logits = torch.arange(32.0).view(4, 8).cos().mul(step + 1)
        sharded = distribute_tensor(logits, mesh["tp"], [Shard(1)]).requires_grad_()
        with loss_parallel():
            loss = nn.functional.cross_entropy(sharded, torch.tensor([1, 2, 3, 0]))
            loss.backward()
        results += [loss.full_tensor().detach(), sharded.grad.full_tensor()]
    return results


@program
def settings() -> Tensors:
    rank = dist.get_rank()
    before = torch.get_num_threads(), torch.is_warn_always_enabled()
    torch.use_deterministic_algorithms(rank == 0, warn_only=True)
    torch.set_float32_matmul_precision("high" if rank == 1 else "highest")
    torch.autograd.set_detect_anomaly(rank == 2)
    torch.set_num_threads(rank + 1)
    torch.set_warn_always(rank == 3)
    torch._C._set_cudnn_benchmark(rank == 1)  # the attribute is closed in PyTorch's own tests
    torch.backends.opt_einsum.enabled = rank == 1
    torch.set_printoptions(precision=rank + 2)
    torch.__future__.set_swap_module_params_on_conversion(rank == 2)
    dist.barrier()
    flags = [
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_float32_matmul_precision() == "high",
        torch.is_anomaly_enabled(),
        torch.is_warn_always_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.opt_einsum.enabled,
        torch.__future__.get_swap_module_params_on_conversion(),
    ]
    numbers = [torch.get_num_threads(), len(str(torch.tensor(1 / 3)))]
    dist.barrier()
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    torch.autograd.set_detect_anomaly(False)
    torch.set_num_threads(before[0])
    torch.set_warn_always(before[1])
    torch.set_printoptions(profile="default")
    torch.backends.opt_einsum.enabled = True
    torch.__future__.set_swap_module_params_on_conversion(False)
    return [torch.tensor(flags), torch.tensor(numbers)]


@program
def a_plan_of_a_checkpoint_that_is_kept() -> Tensors:
    rank = dist.get_rank()
    folder: list[str | None] = [tempfile.mkdtemp() if rank == 0 else None]
    dist.broadcast_object_list(folder)
    results = []
    for step in range(3):
        state = {f"of rank {rank}": torch.full((2 + rank,), float(rank + 10 * step))}
        where = Path(folder[0] or "") / str(step)
        dcp.save(state, checkpoint_id=where, planner=DefaultSavePlanner(enable_plan_caching=True))
        found = {f"of rank {r}": torch.zeros(2 + r) for r in range(dist.get_world_size())}
        dcp.load(found, checkpoint_id=where)
        results += list(found.values())
    return results


@program
def names_that_a_program_patches() -> Tensors:
    rank = dist.get_rank()
    counts = torch.zeros(3)
    all_reduce, forward, theirs = dist.all_reduce, nn.ReLU.forward, builtins.print

    def counted(*args: object, **kwargs: object) -> object:
        counts[0] += 1
        return all_reduce(*args, **kwargs)

    def quiet(*args: object) -> None:
        counts[1] += 1

    dist.all_reduce = counted
    nn.ReLU.forward = lambda self, x: forward(self, x) + rank
    if rank != 0:
        builtins.print = quiet
    dist.barrier()
    dist.all_reduce(torch.ones(1))
    relu = nn.ReLU()(torch.ones(1))
    print("said by rank 0")
    counts[2] = builtins.print is theirs
    dist.barrier()
    dist.all_reduce, nn.ReLU.forward, builtins.print = all_reduce, forward, theirs
    return [counts, relu]


@torch.compile(backend="eager")
def times_the_rank(x: torch.Tensor) -> torch.Tensor:
    return x * dist.get_rank()


@torch.compile(backend="eager")
def summed_and_times_the_rank(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    dist.all_reduce(y)
    return (y + 1) * x * dist.get_rank()


@torch.compile(backend="eager", fullgraph=True)
def without_a_break(x: torch.Tensor) -> torch.Tensor:
    dist.all_reduce(x)
    return x + dist.get_rank()


@program
def compiled_functions() -> Tensors:
    results = []
    for size in (2, 3):
        results.append(times_the_rank(torch.ones(size)))
        dist.barrier()
        results.append(summed_and_times_the_rank(torch.full((size,), dist.get_rank() + 1.0)))
        results.append(without_a_break(torch.full((size,), dist.get_rank() + 1.0)))
    return results


@program
def operators_of_its_own() -> Tensors:
    rank = dist.get_rank()

    @torch.library.custom_op("polyrank_test::scaled", mutates_args=())
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x * (rank + 1)

    scaled.register_fake(torch.empty_like)
    scaled.register_autograd(lambda _, gradient: gradient * (rank + 2))
    torch.library.define("polyrank_test::plus", "(Tensor x) -> Tensor")
    torch.library.impl("polyrank_test::plus", "cpu")(lambda x: x + rank)
    library = torch.library.Library("polyrank_test_library", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x * 2 + rank, "CPU")
    twice = torch.ops.polyrank_test_library.twice.default
    register_decomposition(twice)(lambda x: x * 3 + rank)
    dist.barrier()
    x = torch.ones(2, requires_grad=True)
    y = scaled(x)
    y.sum().backward()
    dist.barrier()
    torch.library.register_autograd(
        "polyrank_test::scaled", lambda _, gradient: gradient * (rank + 3)
    )
    dist.barrier()
    again = torch.ones(2, requires_grad=True)
    torch.ops.polyrank_test.scaled(again).sum().backward()
    compiled = torch.compile(lambda x: scaled(x) + 1, backend="aot_eager", fullgraph=True)
    return [
        *(tensor.detach() for tensor in (y, x.grad, again.grad)),
        torch.ops.polyrank_test.plus(torch.ones(1)),
        torch.ops.polyrank_test_library.twice(torch.ones(1)),
        compiled(torch.ones(3)),
        global_decomposition_table["post_autograd"][twice](torch.ones(1)),
    ]


SUITE = Suite({name: lambda make, groups, run=run: run() for name, run in PROGRAMS.items()}, dict)
