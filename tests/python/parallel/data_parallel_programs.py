"""Training with DistributedDataParallel, in real processes and in lockstep.

Two ranks, so that each sum has two summands and results are the same bit for bit.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from collectives.programs import Groups, Make, Program, Suite
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import (
    default_hooks,
    post_localSGD_hook,
    powerSGD_hook,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

WORLD_SIZE = 2
NUM_STEPS = 4
ROWS = 6

Tensors = list[torch.Tensor]
Parallelize = Callable[[nn.Module], DistributedDataParallel]

PROGRAMS: dict[str, Program] = {}


class Net(nn.Module):
    """A few layers of different sizes, one of which may stay unused."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5)
        self.up = nn.Linear(5, 16)
        self.middle = nn.Linear(16, 16, bias=False)
        self.spare = nn.Linear(16, 16)
        self.down = nn.Linear(16, 3)
        self.uses_spare = True
        self.checkpoints = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(self.norm(x)).relu()
        x = checkpoint(self.middle, x, use_reentrant=False) if self.checkpoints else self.middle(x)
        if self.uses_spare:
            x = x + self.spare(x.relu())
        return self.down(x.relu())


def make_net(make: Make) -> Net:
    """Each rank's own initial values; the first rank's must win."""
    torch.manual_seed(3)
    net = Net()
    with torch.no_grad():
        for tensor in (*net.parameters(), net.norm.running_mean):
            shift = make(lambda rank: torch.full((), rank / 4))
            tensor.add_(shift)
    return net


def batches_of(make: Make, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    def inputs(rank: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(10 * step + rank)
        return torch.randn(ROWS, 5, generator=generator)

    def targets(rank: int) -> torch.Tensor:
        return (torch.arange(ROWS) * 5 + rank + step) % 3

    return make(inputs), make(targets)


def state_of(model: nn.Module) -> Tensors:
    tensors = [*model.parameters(), *model.buffers()]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [t.detach().clone() for t in (*tensors, *gradients)]


def train(
    make: Make,
    parallelize: Parallelize,
    *,
    net_options: dict[str, Any] | None = None,
    num_micro_batches: int = 1,
    num_forwards: int = 1,
    set_to_none: bool = True,
    around: Callable[[Any], Any] = contextlib.nullcontext,
) -> Tensors:
    """What each rank holds after each step."""
    net = make_net(make)
    vars(net).update(net_options or {})
    model = parallelize(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    result: Tensors = []
    with around(model):
        for step in range(NUM_STEPS):
            optimizer.zero_grad(set_to_none=set_to_none)
            inputs, targets = batches_of(make, step)
            for i in range(num_micro_batches):
                last = i == num_micro_batches - 1
                with contextlib.nullcontext() if last else model.no_sync():
                    xs, ys = (batch.chunk(num_micro_batches)[i] for batch in (inputs, targets))
                    halves = zip(xs.chunk(num_forwards), ys.chunk(num_forwards), strict=True)
                    loss: Any = sum(nn.functional.cross_entropy(model(x), y) for x, y in halves)
                    loss.backward()
            optimizer.step()
            result += [loss.detach(), *state_of(model)]
    return result


def add(name: str, options: dict[str, Any], **training: Any) -> None:
    def run(make: Make, groups: Groups) -> Tensors:
        return train(make, lambda net: DistributedDataParallel(net, **options), **training)

    assert name not in PROGRAMS, name
    PROGRAMS[name] = run


UNUSED = {"uses_spare": False}
SMALL = {"bucket_cap_mb": 0.0005}

add("default", {})
add("many_buckets", SMALL)
add("bucket_sizes_listed", {"bucket_cap_mb_list": [0.0003, 0.001]})
add("batched_grad_copy", {**SMALL, "batched_grad_copy": True})
if "lazy_bucket_allocation" in inspect.signature(DistributedDataParallel).parameters:
    add("lazy_bucket_allocation", {**SMALL, "lazy_bucket_allocation": True})
add("gradient_as_bucket_view", {**SMALL, "gradient_as_bucket_view": True})
add("gradient_as_bucket_view_zeroed", {"gradient_as_bucket_view": True}, set_to_none=False)
add("zeroed", SMALL, set_to_none=False)
add("no_sync", SMALL, num_micro_batches=3)
add("no_sync_as_bucket_view", {"gradient_as_bucket_view": True}, num_micro_batches=2)
add("find_unused_parameters", {**SMALL, "find_unused_parameters": True}, net_options=UNUSED)
add(
    "find_unused_parameters_skipped",
    {**SMALL, "find_unused_parameters": True, "skip_all_reduce_unused_params": True},
    net_options=UNUSED,
)
add("nothing_unused", {"find_unused_parameters": True}, num_micro_batches=2)
add("static_graph", {**SMALL, "static_graph": True})
add("several_forwards", SMALL, num_forwards=3)
add("static_graph_several_forwards", {**SMALL, "static_graph": True}, num_forwards=2)
add("static_graph_unused", {**SMALL, "static_graph": True}, net_options=UNUSED)
add("static_graph_checkpointed", {"static_graph": True}, net_options={"checkpoints": True})
add("checkpointed", SMALL, net_options={"checkpoints": True})
add("own_buffers", {"forward_sync_buffers": False})
add("own_buffers_from_the_start", {"broadcast_buffers": False})
add("join", {}, around=lambda model: model.join())
add("join_effective_size", {}, around=lambda m: m.join(divide_by_initial_world_size=False))


def hooked(name: str, register: Callable[[DistributedDataParallel], None], **options: Any) -> None:
    def parallelize(net: nn.Module) -> DistributedDataParallel:
        model = DistributedDataParallel(net, **options)
        register(model)
        return model

    PROGRAMS[f"hook[{name}]"] = lambda make, groups: train(make, parallelize)


# PyTorch looks at the annotations of hooks, and wants no strings.
def _own_hook(state, bucket):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    assert [g.shape for g in bucket.gradients()] == [p.shape for p in bucket.parameters()]
    scale = state[0] * (bucket.index() + 1 + bucket.is_last())
    doubled = bucket.buffer() * scale
    future = dist.all_reduce(doubled, async_op=True).get_future()
    return future.then(lambda done: done.value()[0] / 2)


def power_sgd(hook: Any, **options: Any) -> Callable[[DistributedDataParallel], None]:
    def register(model: DistributedDataParallel) -> None:
        state = powerSGD_hook.PowerSGDState(None, 1, start_powerSGD_iter=2, **options)
        model.register_comm_hook(state, hook)

    return register


def _post_local_sgd(model: DistributedDataParallel) -> None:
    subgroup, _ = dist.new_subgroups(1)
    state = post_localSGD_hook.PostLocalSGDState(None, subgroup, start_localSGD_iter=2)
    model.register_comm_hook(state, post_localSGD_hook.post_localSGD_hook)


for _name, _hook in (
    ("allreduce", default_hooks.allreduce_hook),
    ("fp16", default_hooks.fp16_compress_hook),
    ("fp16_wrapper", default_hooks.fp16_compress_wrapper(default_hooks.allreduce_hook)),
):
    hooked(_name, lambda model, hook=_hook: model.register_comm_hook(None, hook), **SMALL)
    hooked(
        f"{_name}_view",
        lambda model, hook=_hook: model.register_comm_hook(None, hook),
        gradient_as_bucket_view=True,
    )
for _kind in (dist.BuiltinCommHookType.ALLREDUCE, dist.BuiltinCommHookType.FP16_COMPRESS):
    hooked(_kind.name, lambda model, kind=_kind: model._register_builtin_comm_hook(kind))
hooked("own", lambda model: model.register_comm_hook([0.5], _own_hook), **SMALL)
hooked("power_sgd", power_sgd(powerSGD_hook.powerSGD_hook, min_compression_rate=0.5))
hooked("post_local_sgd", _post_local_sgd)


def program(function: Callable[[Make], Tensors]) -> Callable[[Make], Tensors]:
    PROGRAMS[function.__name__] = lambda make, groups: function(make)
    return function


# Not run in processes: PyTorch launches the delayed all_reduce asynchronously and nobody waits for
# it, so that what a process gets depends on how fast the other one is.
def delayed_parameters(make: Make) -> Tensors:
    return train(
        make,
        lambda net: DistributedDataParallel(
            net,
            delay_all_reduce_named_params=[("middle.weight", net.middle.weight)],
            param_to_hook_all_reduce=net.up.weight,
        ),
    )


def no_delayed_parameters(make: Make) -> Tensors:
    return train(make, DistributedDataParallel)


@program
def several_outputs_of_which_one_counts(make: Make) -> Tensors:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"a": self.a(x), "b": self.b(x.detach())}

    torch.manual_seed(1)
    model = DistributedDataParallel(Two(), find_unused_parameters=True)
    result: Tensors = []
    for step, name in enumerate("abba"):
        x, y = batches_of(make, step)
        outputs = model(x)
        unused = sum(o.sum() * 0 for key, o in outputs.items() if key != name)
        (nn.functional.cross_entropy(outputs[name], y) + unused).backward()
        result += state_of(model)
        model.zero_grad()
    return result


SUITE = Suite(PROGRAMS, dict)
