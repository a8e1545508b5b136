"""Steps of Llama 3 70B, to be forecast: which parallelism is the fastest that fits.

    polyrank sweep --cluster dgx-h100 --ranks 256 --vary tp=1,2,4,8 --vary recompute=none,full \
        examples/llama/step_of_70b.py
    polyrank forecast --cluster dgx-h100 --ranks 256 --stages --time examples/llama/step_of_70b.py --pp 4 --tp 4

The ranks form a mesh (pp, dp, tp), as in train_pipeline.py. All settings take the same batch: a rank goes through its
share of it in microbatches.
"""

import argparse

import torch
import torch.distributed as dist
from model import ModelConfig, Transformer
from parallelize import apply_tensor_parallel
from torch import Tensor
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.nn import functional
from train_pipeline import keep_stage

MIXED = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Steps of Llama 3 70B on a (pp, dp, tp) mesh.")
    parser.add_argument("--pp", type=int, default=1, help="stages of the pipeline")
    parser.add_argument("--tp", type=int, default=1, help="tensor parallel ranks")
    parser.add_argument("--recompute", choices=("none", "full"), default="full")
    parser.add_argument("--batch", type=int, default=256, help="sequences of all ranks a step")
    parser.add_argument("--micro", type=int, default=1, help="sequences of a microbatch")
    parser.add_argument("--seq-len", type=int, default=8192)
    parser.add_argument("--layers", type=int, default=80)
    return parser.parse_args()


def config_of(args: argparse.Namespace) -> ModelConfig:
    """As Llama 3 70B's, except for the number of layers."""
    return ModelConfig(
        vocab_size=128_256,
        dim=8192,
        num_layers=args.layers,
        num_heads=64,
        num_kv_heads=8,
        hidden_dim=28_672,
        max_seq_len=args.seq_len,
        rope_theta=500_000.0,
    )


def make_mesh(args: argparse.Namespace) -> DeviceMesh:
    dp_size = dist.get_world_size() // (args.pp * args.tp)
    if dp_size * args.pp * args.tp != dist.get_world_size() or args.layers % args.pp:
        raise SystemExit("--pp times --tp must divide the ranks, and --pp --layers")
    if args.batch % (dp_size * args.micro):
        raise SystemExit(f"{dp_size} data parallel ranks times --micro must divide --batch")
    shape = (args.pp, dp_size, args.tp)
    return init_device_mesh("cuda", shape, mesh_dim_names=("pp", "dp", "tp"))


def make_model(args: argparse.Namespace, mesh: DeviceMesh) -> Transformer:
    """This rank's stage, spread over (dp, tp)."""
    with torch.device("meta"):
        model = Transformer(config_of(args))
    keep_stage(model, mesh.get_local_rank("pp"), args.pp)
    if args.tp > 1:
        apply_tensor_parallel(model, mesh["tp"])
    for name, layer in model.layers.items():
        if args.recompute == "full":
            model.layers[name] = checkpoint_wrapper(layer)
        fully_shard(model.layers[name], mesh=mesh["dp"], mp_policy=MIXED)
    fully_shard(model, mesh=mesh["dp"], mp_policy=MIXED)
    return model.to_empty(device="cuda")


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def accumulate(model: Transformer, tokens: Tensor, micro: int) -> None:
    """Gradients of all microbatches, which ranks add up after each: a rank never holds whole ones."""
    for part in tokens.split(micro):
        loss_of(model(part), part).backward()


def make_schedule(args: argparse.Namespace, model: Transformer, mesh: DeviceMesh) -> Schedule1F1B:
    """The pipeline's; stages can't ask each other for shapes where each is run by itself."""
    index = mesh.get_local_rank("pp")
    device = torch.device("cuda", torch.cuda.current_device())
    between = (args.micro, args.seq_len // args.tp, config_of(args).dim)
    hidden = torch.empty(between, device=device, dtype=torch.bfloat16, requires_grad=True)
    tokens = torch.empty(args.micro, args.seq_len, device=device, dtype=torch.int64)
    logits = hidden.new_empty(args.micro, args.seq_len, config_of(args).vocab_size)
    stage = PipelineStage(
        model,
        index,
        args.pp,
        device,
        input_args=(hidden if index else tokens,),
        output_args=(logits if index == args.pp - 1 else hidden,),
        group=mesh.get_group("pp"),
    )
    microbatches = args.batch // mesh["dp"].size() // args.micro
    return Schedule1F1B(stage, microbatches, loss_of)


def main() -> None:
    args = parse_args()
    dist.init_process_group("nccl")
    mesh = make_mesh(args)
    model = make_model(args, mesh)
    schedule = make_schedule(args, model, mesh) if args.pp > 1 else None
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    share = (args.batch // mesh["dp"].size(), args.seq_len)
    while True:  # the forecast ends it
        tokens = torch.randint(1000, share, device="cuda")
        if schedule is None:
            accumulate(model, tokens, args.micro)
        else:
            is_first = mesh.get_local_rank("pp") == 0
            is_last = mesh.get_local_rank("pp") == args.pp - 1
            # Outputs that are returned are kept until the step's end: gibibytes of logits.
            inputs = (tokens,) if is_first else ()
            schedule.step(*inputs, target=tokens if is_last else None, return_outputs=False)
        optimizer.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    main()
