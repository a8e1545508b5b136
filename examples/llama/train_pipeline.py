"""Trains the model of train.py as a pipeline, each stage spread over (dp, tp) as there.

    torchrun --nproc-per-node 8 examples/llama/train_pipeline.py --pp 2 --tp 2
    polyrank run --ranks 8 examples/llama/train_pipeline.py --pp 2 --tp 2

The ranks form a mesh (pp, dp, tp). Stages are different programs: ranks are processes, or threads.
"""

import argparse
from pathlib import Path

import torch
import torch.distributed as dist
from model import ModelConfig, Transformer
from parallelize import parallelize
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.nn import functional
from train import load_tokens, mean_over, my_batch

CPU = torch.device("cpu")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains a small Llama on a (pp, dp, tp) mesh.")
    parser.add_argument("--pp", type=int, default=2, help="stages of the pipeline")
    parser.add_argument("--tp", type=int, default=2, help="tensor parallel ranks of a stage")
    parser.add_argument("--microbatches", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16, help="sequences of all ranks a step")
    parser.add_argument("--seq-len", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--save", type=Path, help="folder for losses and full weights of each stage"
    )
    return parser.parse_args()


def make_mesh(args: argparse.Namespace) -> DeviceMesh:
    world_size = dist.get_world_size()
    dp_size = world_size // (args.pp * args.tp)
    if dp_size * args.pp * args.tp != world_size or args.layers % args.pp:
        raise SystemExit(
            f"--pp {args.pp} times --tp {args.tp} must divide {world_size} ranks, "
            f"and --pp --layers {args.layers}"
        )
    if args.batch_size % (dp_size * args.microbatches):
        raise SystemExit(
            f"{dp_size} data parallel ranks times --microbatches {args.microbatches} must divide "
            f"--batch-size {args.batch_size}"
        )
    shape = (args.pp, dp_size, args.tp)
    return init_device_mesh("cpu", shape, mesh_dim_names=("pp", "dp", "tp"))


def keep_stage(model: Transformer, index: int, num_stages: int) -> None:
    """Drops the modules that other stages have."""
    length = len(model.layers) // num_stages
    for name in list(model.layers):
        if int(name) // length != index:
            del model.layers[name]
    if index > 0:
        model.tok_embeddings = None
    if index < num_stages - 1:
        model.norm = model.output = None


def make_stage(config: ModelConfig, mesh: DeviceMesh) -> PipelineStage:
    model = Transformer(config)  # the same on every rank, before it is cut and spread
    index, num_stages = mesh.get_local_rank("pp"), mesh["pp"].size()
    keep_stage(model, index, num_stages)
    parallelize(model, mesh)
    return PipelineStage(model, index, num_stages, CPU, group=mesh.get_group("pp"))


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def train_step(schedule: Schedule1F1B, stage: PipelineStage, batch: Tensor) -> Tensor | None:
    """The loss of this rank's share, on the last stage."""
    losses: list[Tensor] = []
    inputs = (batch[:, :-1],) if stage.is_first else ()
    if stage.is_last:
        schedule.step(*inputs, target=batch[:, 1:], losses=losses)
        return torch.stack(losses).mean().detach()
    schedule.step(*inputs)
    return None


def main() -> None:
    args = parse_args()
    dist.init_process_group("gloo")
    mesh = make_mesh(args)
    torch.manual_seed(args.seed)
    tokens = load_tokens()
    stage = make_stage(ModelConfig(num_layers=args.layers, max_seq_len=args.seq_len), mesh)
    schedule = Schedule1F1B(stage, args.microbatches, loss_of)
    optimizer = torch.optim.AdamW(stage.submod.parameters(), lr=args.learning_rate)
    is_leader = mesh.get_local_rank("dp") == mesh.get_local_rank("tp") == 0

    losses = []
    for step in range(1, args.steps + 1):
        optimizer.zero_grad()
        batch = my_batch(tokens, args.batch_size, args.seq_len, mesh)
        loss = train_step(schedule, stage, batch)
        optimizer.step()
        if loss is not None:
            losses.append(mean_over(loss, mesh.get_group("dp")))
            if is_leader:
                print(f"step {step:3d}   loss {losses[-1]:.4f}", flush=True)
    if args.save:
        weights = get_model_state_dict(stage.submod, options=StateDictOptions(full_state_dict=True))
        if is_leader:
            path = args.save / f"stage{stage.stage_index}.pt"
            torch.save({"losses": losses, "weights": weights}, path)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
