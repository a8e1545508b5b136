"""Trains a byte-level Llama-style model on the standard library's own text.

    torchrun --nproc-per-node 4 --local-ranks-filter 0 examples/llama/train.py --tp 2
    polyrank run --world lockstep --ranks 16 examples/llama/train.py

The ranks form a mesh (dp, tp): see parallelize.py. Rank numbers only choose which part of the
batch a rank works on, so that all ranks run the same program (and every rank prints).
"""

import argparse
import pydoc_data.topics
from pathlib import Path

import torch
import torch.distributed as dist
from model import ModelConfig, Transformer
from parallelize import parallelize
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn import functional


def load_tokens() -> Tensor:
    """Bytes of Python's reference documentation, which every Python has."""
    topics = pydoc_data.topics.topics
    text = "\n".join(topics[name] for name in sorted(topics))
    return torch.tensor(list(text.encode()), dtype=torch.int64)


def my_batch(tokens: Tensor, batch_size: int, length: int, mesh: DeviceMesh) -> Tensor:
    """(this rank's share of the batch, length + 1) tokens, at random places of the text."""
    starts = torch.randint(len(tokens) - length - 1, (batch_size,))
    share = batch_size // mesh["dp"].size()
    first = mesh.get_local_rank("dp") * share
    return tokens[starts[first : first + share, None] + torch.arange(length + 1)]


def train_step(model: Transformer, optimizer: torch.optim.Optimizer, batch: Tensor) -> Tensor:
    logits = model(batch[:, :-1])
    loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def mean_over(value: Tensor, group: dist.ProcessGroup) -> float:
    total = value.clone()
    dist.all_reduce(total, group=group)
    return total.item() / group.size()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains a small Llama on a (dp, tp) mesh.")
    parser.add_argument("--tp", type=int, help="tensor parallel ranks (default: min(4, world))")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16, help="sequences of all ranks a step")
    parser.add_argument("--seq-len", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="write losses and full weights here (torch.save)")
    return parser.parse_args()


def make_mesh(args: argparse.Namespace, config: ModelConfig) -> DeviceMesh:
    world_size = dist.get_world_size()
    tp_size = args.tp or min(4, world_size)
    dp_size = world_size // tp_size
    if dp_size * tp_size != world_size or config.num_kv_heads % tp_size:
        raise SystemExit(
            f"--tp {tp_size} must divide {world_size} ranks and {config.num_kv_heads} kv heads"
        )
    if args.batch_size % dp_size or args.seq_len % tp_size:
        raise SystemExit(
            f"{dp_size} data parallel ranks must divide --batch-size {args.batch_size}, "
            f"and --tp {tp_size} --seq-len {args.seq_len}"
        )
    return init_device_mesh("cpu", (dp_size, tp_size), mesh_dim_names=("dp", "tp"))


def main() -> None:
    args = parse_args()
    dist.init_process_group("gloo")
    config = ModelConfig(num_layers=args.layers, max_seq_len=args.seq_len)
    mesh = make_mesh(args, config)
    torch.manual_seed(args.seed)
    tokens = load_tokens()
    model = Transformer(config)  # the same on every rank, before it is spread
    parallelize(model, mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)

    losses = []
    for step in range(1, args.steps + 1):
        batch = my_batch(tokens, args.batch_size, args.seq_len, mesh)
        loss = train_step(model, optimizer, batch)
        losses.append(mean_over(loss, mesh.get_group("dp")))
        print(f"step {step:3d}   loss {losses[-1]:.4f}", flush=True)
    if args.save:
        options = StateDictOptions(full_state_dict=True)
        weights = get_model_state_dict(model, options=options)
        torch.save({"losses": losses, "weights": weights}, args.save)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
