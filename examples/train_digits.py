"""Trains an MLP on scikit-learn's digits with data and tensor parallelism.

    torchrun --nproc-per-node 4 --local-ranks-filter 0 examples/train_digits.py
    polyrank run --world lockstep --ranks 64 examples/train_digits.py

The ranks form a mesh (dp, tp). Data parallel ranks train on different samples and
average their gradients; tensor parallel ranks hold different slices of each weight.
Rank numbers only choose which slice of a tensor a rank works on: nothing branches on
them, so that all ranks run the same program. (That is also why every rank prints.)
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn import functional

NUM_PIXELS = 64
NUM_CLASSES = 10
NUM_TEST_SAMPLES = 384


class EnterTensorParallel(torch.autograd.Function):
    """All ranks of the group get the same input; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad, group=ctx.group)
        return grad, None


class LeaveTensorParallel(torch.autograd.Function):
    """Each rank of the group has a summand; the gradient of the sum goes to all of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class TensorParallelBlock(nn.Module):
    """Linear, ReLU, linear; the hidden features are spread over the ranks of `tp`."""

    def __init__(self, in_features: int, hidden: int, out_features: int, mesh: DeviceMesh) -> None:
        super().__init__()
        self.group = mesh.get_group("tp")
        mine = slice_of(hidden, mesh, "tp")
        # Every rank draws the whole weights, so that they depend on the seed alone.
        up = nn.Linear(in_features, hidden)
        down = nn.Linear(hidden, out_features)
        self.up_weight = nn.Parameter(up.weight.detach()[mine].clone())
        self.up_bias = nn.Parameter(up.bias.detach()[mine].clone())
        self.down_weight = nn.Parameter(down.weight.detach()[:, mine].contiguous())
        self.down_bias = nn.Parameter(down.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        x = EnterTensorParallel.apply(x, self.group)
        hidden = functional.relu(functional.linear(x, self.up_weight, self.up_bias))
        partial_sum = functional.linear(hidden, self.down_weight)
        return LeaveTensorParallel.apply(partial_sum, self.group) + self.down_bias


def slice_of(length: int, mesh: DeviceMesh, mesh_dim: str) -> slice:
    """This rank's piece of a dimension that `mesh_dim` shares out in equal pieces."""
    piece = length // mesh.get_group(mesh_dim).size()
    start = mesh.get_local_rank(mesh_dim) * piece
    return slice(start, start + piece)


def load_samples() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images, labels) for training and for testing, in an order that is always the same."""
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16.0
    labels = torch.tensor(digits.target, dtype=torch.int64)
    shuffled = torch.randperm(len(labels))
    test, train = shuffled[:NUM_TEST_SAMPLES], shuffled[NUM_TEST_SAMPLES:]
    return (images[train], labels[train]), (images[test], labels[test])


def average_gradients(parameters: Iterable[nn.Parameter], group: dist.ProcessGroup) -> None:
    """Replaces each gradient by its mean over `group`, with one all-reduce for all of them."""
    grads = [p.grad for p in parameters if p.grad is not None]
    bucket = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(bucket, group=group)
    bucket /= group.size()
    for grad, mean in zip(grads, bucket.split([g.numel() for g in grads]), strict=True):
        grad.copy_(mean.view_as(grad))


def mean_over(value: Tensor, group: dist.ProcessGroup) -> float:
    total = value.detach().clone()
    dist.all_reduce(total, group=group)
    return total.item() / group.size()


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    samples: tuple[Tensor, Tensor],
    batch_size: int,
    mesh: DeviceMesh,
) -> list[float]:
    """The loss of each step, averaged over the whole batch."""
    images, labels = samples
    dp_group = mesh.get_group("dp")
    mine = slice_of(batch_size, mesh, "dp")
    losses = []
    for batch in torch.randperm(len(labels)).split(batch_size)[: len(labels) // batch_size]:
        my_batch = batch[mine]
        loss = functional.cross_entropy(model(images[my_batch]), labels[my_batch])
        optimizer.zero_grad()
        loss.backward()
        average_gradients(model.parameters(), dp_group)
        optimizer.step()
        losses.append(mean_over(loss, dp_group))
    return losses


@torch.no_grad()
def accuracy(model: nn.Module, samples: tuple[Tensor, Tensor], mesh: DeviceMesh) -> float:
    """The fraction that the model gets right; each data parallel rank classifies its share."""
    images, labels = samples
    mine = slice_of(len(labels), mesh, "dp")
    my_answers = model(images[mine]).argmax(dim=1)
    answers = torch.empty_like(labels)
    dist.all_gather_into_tensor(answers, my_answers, group=mesh.get_group("dp"))
    return int((answers == labels).sum().item()) / len(labels)


def write_losses(path: Path, losses: list[float]) -> None:
    """Every rank writes the same content: each into a file of its own, then renamed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        json.dump(losses, file)
    Path(name).replace(path)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains an MLP on digits on a (dp, tp) mesh.")
    parser.add_argument("--tp", type=int, help="tensor parallel ranks (default: min(4, world))")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128, help="samples of all ranks a step")
    parser.add_argument("--hidden", type=int, default=256, help="hidden features of a block")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--losses", type=Path, help="write the loss of each step here, as JSON")
    return parser.parse_args()


def make_mesh(args: argparse.Namespace) -> DeviceMesh:
    world_size = dist.get_world_size()
    tp_size = args.tp or min(4, world_size)
    dp_size = world_size // tp_size
    if dp_size * tp_size != world_size or args.hidden % tp_size:
        raise SystemExit(
            f"--tp {tp_size} must divide {world_size} ranks and --hidden {args.hidden}"
        )
    if args.batch_size % dp_size or NUM_TEST_SAMPLES % dp_size:
        raise SystemExit(
            f"{dp_size} data parallel ranks must divide --batch-size {args.batch_size} "
            f"and the {NUM_TEST_SAMPLES} test samples"
        )
    return init_device_mesh("cpu", (dp_size, tp_size), mesh_dim_names=("dp", "tp"))


def main() -> None:
    args = parse_args()
    dist.init_process_group("gloo")
    mesh = make_mesh(args)
    torch.manual_seed(args.seed)
    train_samples, test_samples = load_samples()
    model = nn.Sequential(
        TensorParallelBlock(NUM_PIXELS, args.hidden, args.hidden, mesh),
        nn.ReLU(),
        TensorParallelBlock(args.hidden, args.hidden, NUM_CLASSES, mesh),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate, momentum=0.9)

    losses: list[float] = []
    for epoch in range(1, args.epochs + 1):
        step_losses = train_epoch(model, optimizer, train_samples, args.batch_size, mesh)
        losses += step_losses
        print(f"epoch {epoch:3d}   loss {sum(step_losses) / len(step_losses):.4f}", flush=True)
    print(f"test accuracy {100 * accuracy(model, test_samples, mesh):.1f} %", flush=True)
    if args.losses:
        write_losses(args.losses, losses)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
