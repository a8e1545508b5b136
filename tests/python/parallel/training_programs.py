"""Parallel training that gives the same losses and weights as one device."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import polyrank
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._composable.replicate_with_fsdp import replicate
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

WORLD_SIZE = 4
STEPS = 3
BATCH, SEQUENCE, WIDTH, CLASSES = 8, 6, 8, 12


class Block(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, hidden)
        self.down = nn.Linear(hidden, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Model(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(2))
        self.out = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.out(x)


def make_model(hidden: int = 16) -> Model:
    torch.manual_seed(0)
    return Model(hidden)


def make_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The whole batch of each step, plain tensors."""
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(BATCH, SEQUENCE, WIDTH, generator=generator),
            torch.randint(0, CLASSES, (BATCH, SEQUENCE), generator=generator),
        )
        for _ in range(STEPS)
    ]


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam_foreach": lambda p: torch.optim.Adam(p, lr=1e-2, foreach=True),
    "adamw_foreach": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=True),
    "adamw_fused": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=False),
}


@dataclass(frozen=True)
class Training:
    """How to train; what does not matter to one device changes nothing there."""

    optimizer: str = "adamw"
    max_norm: float | None = None
    micro_batches: int = 1
    data_parallel: int = 1  # how many pieces the batch is in
    ranks_a_piece: int = 1  # consecutive ranks that get the same piece
    hidden: int = 16


Result = tuple[list[float], dict[str, torch.Tensor]]


def train(model: nn.Module, training: Training, batches: Any) -> list[float]:
    """The loss of each step over the whole batch."""
    optimizer = OPTIMIZERS[training.optimizer](model.parameters())
    losses = []
    for x, y in batches:
        loss_of_step = 0.0
        for i in range(training.micro_batches):
            last = i == training.micro_batches - 1
            if hasattr(model, "set_requires_gradient_sync"):
                model.set_requires_gradient_sync(last)
            xs, ys = x.chunk(training.micro_batches)[i], y.chunk(training.micro_batches)[i]
            loss = nn.functional.cross_entropy(model(xs).flatten(0, 1), ys.flatten())
            loss = loss / training.micro_batches
            loss.backward()
            loss_of_step += value_of(loss, training.data_parallel > 1)
        if training.max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), training.max_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss_of_step)
    return losses


def value_of(loss: torch.Tensor, average: bool) -> float:
    loss = loss.detach().clone()
    if average:
        dist.all_reduce(loss)
        loss = loss / dist.get_world_size()
    return polyrank.reconcile(loss).item()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The full plain tensor, which all ranks must agree on."""
    tensor = tensor.detach()
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return polyrank.reconcile(full)


def train_on_one_device(training: Training) -> Result:
    model = make_model(training.hidden)
    losses = train(model, replace(training, data_parallel=1), make_batches())
    return losses, {name: p.detach() for name, p in model.named_parameters()}


def batches_of_ranks(training: Training) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    mode = polyrank.enabled_local_tensor_mode()
    assert mode is not None
    with mode.disable():
        batches = make_batches()
    for batch in batches:
        yield tuple(
            polyrank.rank_map(
                lambda rank, t=tensor: t.chunk(training.data_parallel)[
                    rank // training.ranks_a_piece % training.data_parallel
                ].clone()
            )
            if training.data_parallel > 1
            else tensor
            for tensor in batch
        )


def train_in_lockstep(parallelize: Callable[[Model], nn.Module], training: Training) -> Result:
    model = parallelize(make_model(training.hidden))
    losses = train(model, training, batches_of_ranks(training))
    names = {
        name.replace("module.", "").replace("_checkpoint_wrapped_", ""): p
        for name, p in model.named_parameters()
    }
    return losses, {name: whole(p) for name, p in names.items()}


# --- Ways to run the model in parallel ----------------------------------------------------------


def mesh_of(*shape: int) -> DeviceMesh:
    return init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp")[: len(shape)])


def shard_fully(model: Model, mesh: DeviceMesh, **options: Any) -> Model:
    for block in model.blocks:
        fully_shard(block, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def tensor_parallel(model: Model, mesh: DeviceMesh) -> Model:
    for block in model.blocks:
        parallelize_module(block, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return parallelize_module(model, mesh, {"out": ColwiseParallel(output_layouts=Replicate())})


def sequence_parallel(model: Model, mesh: DeviceMesh) -> Model:
    for block in model.blocks:
        plan = {
            "norm": SequenceParallel(),
            "up": ColwiseParallel(input_layouts=Shard(1)),
            "down": RowwiseParallel(output_layouts=Shard(1)),
        }
        parallelize_module(block, mesh, plan)
    parallelize_module(
        model, mesh, {"out": ColwiseParallel(input_layouts=Shard(1), output_layouts=Shard(-1))}
    )
    enter = PrepareModuleInput(
        input_layouts=(Replicate(),), desired_input_layouts=(Shard(1),), use_local_output=True
    )
    leave = PrepareModuleOutput(output_layouts=Shard(-1), desired_output_layouts=Replicate())
    return parallelize_module(parallelize_module(model, mesh, enter), mesh, leave)


def both(model: Model, *, checkpoint: bool = False) -> Model:
    mesh = mesh_of(2, 2)
    model = sequence_parallel(model, mesh["tp"])
    if checkpoint:
        for i, block in enumerate(model.blocks):
            model.blocks[i] = checkpoint_wrapper(block)
    return shard_fully(model, mesh["dp"])


def distributed_data_parallel(model: Model) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


BFLOAT16 = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
ALL = Training(data_parallel=4)
HALVES = Training(data_parallel=2, ranks_a_piece=2)

# Name -> how to make it parallel, and how to train it.
PROGRAMS: dict[str, tuple[Callable[[Model], nn.Module], Training]] = {
    "tensor_parallel": (lambda m: tensor_parallel(m, mesh_of(4)), Training()),
    "sequence_parallel": (lambda m: sequence_parallel(m, mesh_of(2, 2)["tp"]), Training()),
    "fully_shard": (lambda m: shard_fully(m, mesh_of(4)), ALL),
    "fully_shard_hsdp": (lambda m: shard_fully(m, mesh_of(2, 2)), ALL),
    "replicate": (lambda m: replicate(m, mesh=mesh_of(4)), ALL),
    "distributed_data_parallel": (distributed_data_parallel, ALL),
    "fully_shard_with_sequence_parallel": (both, HALVES),
    "fully_shard_with_checkpointing": (lambda m: both(m, checkpoint=True), HALVES),
    "fully_shard_accumulating": (
        lambda m: shard_fully(m, mesh_of(4)),
        Training(data_parallel=4, micro_batches=2),
    ),
    "fully_shard_clipping": (
        lambda m: shard_fully(m, mesh_of(4)),
        Training(data_parallel=4, max_norm=0.1),
    ),
}
for reshard, optimizer in itertools.chain(
    itertools.product((False, 2), ("adamw",)), itertools.product((True,), OPTIMIZERS)
):
    PROGRAMS[f"fully_shard[{reshard}-{optimizer}]"] = (
        lambda m, r=reshard: shard_fully(m, mesh_of(4), reshard_after_forward=r),
        Training(data_parallel=4, optimizer=optimizer),
    )
